package main

import (
	"context"
	"errors"
	"fmt"
)

// runDigest shows digests or sends them by hand.
func runDigest(ctx context.Context, e env, args []string) error {
	actions := map[string]func(context.Context, env, []string) error{"preview": previewDigest, "run": runDigests}
	if len(args) > 0 && actions[args[0]] != nil {
		return actions[args[0]](ctx, e, args[1:])
	}
	flags := newFlags("headway digest preview USER [--html FILE] [--eml FILE]\n       headway digest run",
		"Sends digests by hand, or shows what one would say. `headway digest preview -help` and\n"+
			"`headway digest run -help` say more. Workers do all this by themselves, on schedule.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	flags.SetOutput(e.stderr)
	flags.Usage()
	fmt.Fprintln(e.stderr)
	return &usageError{errors.New("digest: want preview or run")}
}
