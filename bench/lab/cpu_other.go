//go:build !linux

package lab

import "time"

// CPU returns 0: only Linux tells what the server's processes have used.
func (l *Lab) CPU() (time.Duration, error) { return 0, nil }

// ProcessCPU returns 0: only Linux tells what a process has used.
func ProcessCPU(int) (time.Duration, error) { return 0, nil }
