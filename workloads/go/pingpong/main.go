// Pingpong hands a token to and fro between pairs of goroutines over unbuffered channels: as many parks and wake-ups
// as the machine can do. Nothing leaks.
//
//	-pairs N           pairs (1)
//	-rounds N          rounds a pair, 0: until the input ends (0)
//	-procs N           threads that run goroutines, 0: as many as there are CPUs (0)
//	-cpuprofile FILE   writes a CPU profile
//
// Lines: "ready", "done ROUNDS NS". Command "count" answers "count ROUNDS NS": rounds so far
// and the monotonic time.
package main

import (
	"flag"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"

	"loiter/workloads/control"
)

var rounds uint64

func ping(out chan<- int, in <-chan int, limit int) {
	for i := 0; limit == 0 || i < limit; i++ {
		out <- i
		<-in
		atomic.AddUint64(&rounds, 1)
	}
	close(out)
}

func pong(in <-chan int, out chan<- int) {
	for token := range in {
		out <- token
	}
}

func main() {
	pairs := flag.Int("pairs", 1, "pairs")
	limit := flag.Int("rounds", 0, "rounds a pair, 0: until the input ends")
	procs := flag.Int("procs", 0, "threads that run goroutines, 0: as many as CPUs")
	profile := flag.String("cpuprofile", "", "file for a CPU profile")
	flag.Parse()
	runtime.GOMAXPROCS(*procs)
	if *profile != "" {
		file, err := os.Create(*profile)
		if err != nil {
			control.Fail("%v", err)
			control.Exit()
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			control.Fail("%v", err)
			control.Exit()
		}
	}
	start := control.Monotonic()
	var all sync.WaitGroup
	for i := 0; i < *pairs; i++ {
		there, back := make(chan int), make(chan int)
		all.Add(1)
		go func() {
			defer all.Done()
			ping(there, back, *limit)
		}()
		go pong(there, back)
	}
	control.Say("ready")
	if *limit > 0 {
		all.Wait()
		control.Say("done %d %d", atomic.LoadUint64(&rounds), control.Monotonic()-start)
	}
	if *profile != "" {
		pprof.StopCPUProfile()
	}
	control.Serve(func(command string, _ []string) {
		switch command {
		case "count":
			control.Say("count %d %d", atomic.LoadUint64(&rounds), control.Monotonic())
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
