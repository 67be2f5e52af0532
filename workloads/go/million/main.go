// Million starts and ends exactly N goroutines at one spawn site, on command: who counts them can be checked.
//
//	-n N       goroutines a run (1 000 000)
//	-alive N   most that are alive at once (1 000)
//	-park      each one parks once before it ends
//	-procs N   threads that run goroutines, 0: as many as there are CPUs (0)
//
// Lines: "ready". Command "run" (or "run N") answers "done STARTED ENDED NS". Nothing leaks.
package main

import (
	"flag"
	"runtime"
	"strconv"
	"sync/atomic"

	"loiter/workloads/control"
)

var ended uint64

// work is one goroutine's life: it may wait for its turn, and ends.
func work(gate <-chan struct{}, slots chan struct{}) {
	if gate != nil {
		<-gate
	}
	atomic.AddUint64(&ended, 1)
	<-slots
}

func run(n, alive int, park bool) {
	goroutines := runtime.NumGoroutine()
	start, before := control.Monotonic(), atomic.LoadUint64(&ended)
	slots := make(chan struct{}, alive)
	var gate chan struct{}
	if park {
		gate = make(chan struct{})
		go func() {
			for i := 0; i < n; i++ {
				gate <- struct{}{}
			}
		}()
	}
	for i := 0; i < n; i++ {
		slots <- struct{}{}
		go work(gate, slots)
	}
	for i := 0; i < alive; i++ {
		slots <- struct{}{}
	}
	count := atomic.LoadUint64(&ended) - before
	if count != uint64(n) {
		control.Fail("started %d, ended %d", n, count)
	}
	// The last ones have said so, and are still about to end.
	control.Until("all have ended", func() bool { return runtime.NumGoroutine() <= goroutines })
	control.Say("done %d %d %d", n, count, control.Monotonic()-start)
}

func main() {
	n := flag.Int("n", 1_000_000, "goroutines a run")
	alive := flag.Int("alive", 1_000, "most alive at once")
	park := flag.Bool("park", false, "each parks once")
	procs := flag.Int("procs", 0, "threads that run goroutines, 0: as many as CPUs")
	flag.Parse()
	runtime.GOMAXPROCS(*procs)
	control.Say("ready")
	control.Serve(func(command string, args []string) {
		switch command {
		case "run":
			count := *n
			if len(args) > 0 {
				var err error
				if count, err = strconv.Atoi(args[0]); err != nil {
					control.Fail("run %q: %v", args[0], err)
					return
				}
			}
			run(count, *alive, *park)
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
