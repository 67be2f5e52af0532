//go:build go1.23

// Coroutines starts and ends exactly N coroutines at one place, on command: they are goroutines that no `go` statement
// made, which switch to each other without the scheduler.
//
//	-n N   coroutines a run (1 000)
//
// Lines: "ready". Command "run" answers "done N": each one gave two values and was stopped. Nothing leaks.
package main

import (
	"flag"
	"iter"

	"loiter/workloads/control"
)

func numbers(yield func(int) bool) {
	for i := 0; yield(i); i++ {
	}
}

func run(n int) {
	sum := 0
	for i := 0; i < n; i++ {
		next, stop := iter.Pull(numbers)
		for j := 0; j < 2; j++ {
			value, _ := next()
			sum += value
		}
		stop()
	}
	if sum != n {
		control.Fail("the values add up to %d instead of %d", sum, n)
	}
	control.Say("done %d", n)
}

func main() {
	n := flag.Int("n", 1_000, "coroutines a run")
	flag.Parse()
	control.Say("ready")
	control.Serve(func(command string, _ []string) {
		switch command {
		case "run":
			run(*n)
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
