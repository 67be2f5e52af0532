// Hog has goroutines that never stop, and others that want to run.
//
//	-n N       goroutines that loop without a call (1)
//	-ready M   goroutines that are ready to run when the first of them begins (0)
//	-healthy   instead of loops without end: a job of 50 ms every 80 ms
//
// Line: "ready", before they begin. With GOMAXPROCS=1 and GODEBUG=asyncpreemptoff=1 nothing else runs from then
// on, not even what would end the program: it has to be killed, and is when the one who started it ends.
package main

import (
	"flag"
	"syscall"
	"time"

	"loiter/workloads/control"
)

var sink uint64

// spin never stops, and calls nothing.
func spin() {
	for x := uint64(1); ; x ^= x << 13 {
		x ^= x >> 7
		if x == 0 {
			sink++
		}
	}
}

// wantsToRun is ready, and would be done at once.
func wantsToRun() {
	sink++
}

// serve is a busy worker.
func serve(jobs <-chan time.Duration) {
	for length := range jobs {
		for end := time.Now().Add(length); time.Now().Before(end); {
			sink++
		}
	}
}

func supply(jobs chan<- time.Duration) {
	for range time.Tick(80 * time.Millisecond) {
		jobs <- 50 * time.Millisecond
	}
}

func main() {
	n := flag.Int("n", 1, "goroutines that loop")
	ready := flag.Int("ready", 0, "goroutines that want to run")
	healthy := flag.Bool("healthy", false, "jobs instead of loops")
	flag.Parse()
	const prSetPdeathsig = 1
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetPdeathsig, uintptr(syscall.SIGKILL), 0)
	control.Say("ready")
	if *healthy {
		for i := 0; i < *n; i++ {
			jobs := make(chan time.Duration)
			go serve(jobs)
			go supply(jobs)
		}
		control.WaitForEnd()
	}
	for i := 0; i < *ready; i++ {
		go wantsToRun()
	}
	// The last one made runs first.
	for i := 0; i < *n; i++ {
		go spin()
	}
	control.WaitForEnd()
}
