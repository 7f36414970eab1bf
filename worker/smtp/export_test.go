package smtp

import "context"

// Send sends one mail, as [Pool.Acquire] and [Conn.Send] do together.
func (p *Pool) Send(ctx context.Context, from, to string, mail []byte) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Send(ctx, from, to, mail)
}

// LocalName is the name for EHLO over a connection from this address.
var LocalName = localName

// InUse returns how many connections are lent, or waited for.
func (p *Pool) InUse() int { return len(p.slots) }
