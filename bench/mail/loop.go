package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"headway/bench/lab"
	"headway/internal/smtptest"
)

// loop sends the mails as fast as a client can that has nothing else to do.
func loop(ctx context.Context, l *lab.Lab, mails []smtptest.Message, c conditions) (_ run, err error) {
	server, err := catch(c.delay)
	if err != nil {
		return run{}, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	address, err := url.Parse(server.URL())
	if err != nil {
		return run{}, err
	}
	before, err := l.CPU()
	if err != nil {
		return run{}, err
	}
	waiting := make(chan smtptest.Message, len(mails))
	for _, m := range mails {
		waiting <- m
	}
	close(waiting)
	group, ctx := errgroup.WithContext(ctx)
	for range c.connections {
		group.Go(func() error {
			client, err := smtp.Dial(address.Host)
			if err != nil {
				return err
			}
			defer client.Close()
			for m := range waiting {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := client.SendMail(m.From, []string{m.To}, bytes.NewReader(m.Data)); err != nil {
					return err
				}
			}
			return client.Quit()
		})
	}
	if err := group.Wait(); err != nil {
		return run{}, err
	}
	after, err := l.CPU()
	if err != nil {
		return run{}, err
	}
	if got := len(server.Messages()); got != len(mails) {
		return run{}, fmt.Errorf("%d mails came, of %d", got, len(mails))
	}
	perSecond, err := server.perSecond()
	return run{perSecond: perSecond, cpu: (after - before) / time.Duration(len(mails))}, err
}
