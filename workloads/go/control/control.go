// Package control is the line protocol of the workloads.
//
// A workload says "ready ..." when it is in the state it promises, obeys one command a line on its
// standard input, and ends when that is closed: a test that dies leaves no orphan. A check of
// its own that fails is a line that starts with "FAILED" and exit code 1.
package control

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var failed int32

// Say prints one line at once.
func Say(format string, args ...any) {
	fmt.Fprintf(os.Stdout, format+"\n", args...)
}

// Fail reports a check that failed.
func Fail(format string, args ...any) {
	atomic.StoreInt32(&failed, 1)
	Say("FAILED "+format, args...)
}

// Serve obeys commands until standard input ends or the command is "quit". It runs on the goroutine that
// calls it, which therefore sits in a read system call.
func Serve(obey func(command string, args []string)) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "quit" {
			break
		}
		obey(words[0], words[1:])
	}
	Exit()
}

// WaitForEnd waits until standard input ends, and exits.
func WaitForEnd() {
	Serve(func(command string, _ []string) { Fail("unknown command %q", command) })
}

// Exit ends the program; the code tells whether its own checks passed.
func Exit() {
	os.Exit(int(atomic.LoadInt32(&failed)))
}

// Monotonic is CLOCK_MONOTONIC in ns: the clock of the kernel's bpf_ktime_get_ns and of the Go runtime's nanotime.
func Monotonic() int64 {
	const clockMonotonic = 1
	var ts syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return ts.Nano()
}

// Until polls a condition that the runtime gives no event for, such as "all of them are parked".
func Until(what string, condition func() bool) {
	end := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(end) {
			Fail("%s: not within a minute", what)
			Exit()
		}
		time.Sleep(time.Millisecond)
	}
}
