// Many has N parked goroutines, and one that ticks and remembers the longest time it was kept from running: what a
// dump costs the program that is dumped can be read from it. Nothing leaks.
//
//	-n N        parked goroutines (100 000)
//	-depth N    calls on each one's stack (4)
//	-tick TIME  how often it ticks (1ms)
//
// Lines: "ready ADDRESS" of its own pprof pages (/debug/pprof/goroutine?debug=2). Command "stall" answers
// "stall NS TICKS": the longest delay of a tick since the last such command, and how many ticks there were.
package main

import (
	"flag"
	"net"
	"net/http"
	_ "net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"loiter/workloads/control"
)

var (
	longest int64
	ticks   int64
)

//go:noinline
func park(depth int, parked *sync.WaitGroup, gate <-chan struct{}) {
	if depth > 1 {
		park(depth-1, parked, gate)
		return
	}
	parked.Done()
	<-gate
}

func tick(every time.Duration) {
	for {
		start := time.Now()
		time.Sleep(every)
		late := int64(time.Since(start) - every)
		for {
			old := atomic.LoadInt64(&longest)
			if late <= old || atomic.CompareAndSwapInt64(&longest, old, late) {
				break
			}
		}
		atomic.AddInt64(&ticks, 1)
	}
}

func main() {
	n := flag.Int("n", 100_000, "parked goroutines")
	depth := flag.Int("depth", 4, "calls on each one's stack")
	every := flag.Duration("tick", time.Millisecond, "how often it ticks")
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
	go func() {
		control.Fail("%v", http.Serve(listener, nil))
		control.Exit()
	}()
	gate := make(chan struct{})
	var parked sync.WaitGroup
	parked.Add(*n)
	for i := 0; i < *n; i++ {
		go park(*depth, &parked, gate)
	}
	parked.Wait()
	go tick(*every)
	control.Say("ready %s", listener.Addr())
	control.Serve(func(command string, _ []string) {
		switch command {
		case "stall":
			control.Say("stall %d %d", atomic.SwapInt64(&longest, 0), atomic.SwapInt64(&ticks, 0))
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
