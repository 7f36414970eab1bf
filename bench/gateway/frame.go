package gateway

import "encoding/binary"

// Types of frames (RFC 6455, section 11.8).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// parse takes a frame of a server apart (RFC 6455, section 5.2): not masked, and never in fragments.
func parse(data []byte) (opcode byte, payload, rest []byte, whole bool) {
	if len(data) < 2 {
		return 0, nil, data, false
	}
	opcode = data[0] & 0x0f
	length, head := int(data[1]&0x7f), 2
	switch {
	case length == 126 && len(data) >= 4:
		length, head = int(binary.BigEndian.Uint16(data[2:])), 4
	case length == 127 && len(data) >= 10:
		length, head = int(binary.BigEndian.Uint64(data[2:])), 10
	case length >= 126:
		return 0, nil, data, false
	}
	if len(data)-head < length {
		return 0, nil, data, false
	}
	return opcode, data[head : head+length], data[head+length:], true
}

// frame makes a frame of a client. Its mask is zero, which masks nothing: nobody is in between whom it would protect.
func frame(opcode byte, payload []byte) []byte {
	f := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	return append(append(f, 0, 0, 0, 0), payload...)
}

// upgrade is the request that opens a WebSocket.
func upgrade(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}
