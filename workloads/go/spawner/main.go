//go:build go1.23

// Spawner does what Million and Coroutines do, in one run, and comes with a profile of a program that does nothing but
// start goroutines: the compiler then inlines the end of a goroutine (runtime.gdestroy) into runtime.goexit0.
//
//	-n N   goroutines a run, and as many coroutines (1 000)
//
// Lines: "ready". Command "run" answers "done N". Nothing leaks.
package main

import (
	"flag"
	"iter"
	"sync"

	"loiter/workloads/control"
)

func one(yield func(int) bool) {
	yield(1)
}

func run(n int) {
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		all.Add(1)
		go all.Done()
		next, stop := iter.Pull(one)
		if value, ok := next(); value != 1 || !ok {
			control.Fail("a coroutine gave %d, %t", value, ok)
		}
		stop()
	}
	all.Wait()
	control.Say("done %d", n)
}

func main() {
	n := flag.Int("n", 1_000, "goroutines and coroutines a run")
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
