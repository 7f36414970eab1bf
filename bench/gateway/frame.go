package gateway

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// parse takes a frame of a server apart (RFC 6455, section 5.2): not masked, and never in fragments. [ws.ReadHeader] would
// allocate for each.
func parse(data []byte) (opcode ws.OpCode, payload, rest []byte, whole bool) {
	if len(data) < 2 {
		return 0, nil, data, false
	}
	opcode = ws.OpCode(data[0] & 0x0f)
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

// frame makes a frame of a client.
func frame(opcode ws.OpCode, payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(opcode, true, payload)))
}

// upgrade is the request that opens a WebSocket.
func upgrade(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
}
