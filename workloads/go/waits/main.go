// Waits has goroutines that block at known times: what a tracer says about when and how long can be checked.
// All times are CLOCK_MONOTONIC in ns.
//
//	-old N   goroutines of each kind that block before it is ready (0)
//
// Kinds: chan-receive, chan-send, select, mutex, rwmutex, waitgroup, cond, sleep.
//
// Command "block KIND N" starts N goroutines that block; a line "blocking GOID KIND BORN START" for each (also for the old ones,
// before "ready"), then "blocked N". START is read just before the wait. Command "release" ends all waits: "woke GOID KIND START END" for each, then
// "released N". Sleepers wake by themselves, 3 s after they began; "release" waits for them. Nothing leaks.
package main

import (
	"bytes"
	"flag"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"loiter/workloads/control"
)

const sleep = 3 * time.Second

// wait is one goroutine's wait.
type wait struct {
	id               uint64
	kind             string
	born, start, end int64
	over             chan struct{}
}

// pair is how to block, and how to end that.
type pair struct {
	block   func()
	release func()
}

var kinds = []string{"chan-receive", "chan-send", "select", "mutex", "rwmutex", "waitgroup", "cond", "sleep"}

func newPair(kind string) pair {
	switch kind {
	case "chan-receive":
		c := make(chan int)
		return pair{func() { <-c }, func() { c <- 1 }}
	case "chan-send":
		c := make(chan int)
		return pair{func() { c <- 1 }, func() { <-c }}
	case "select":
		c, d := make(chan int), make(chan int)
		return pair{func() {
			select {
			case <-c:
			case <-d:
			}
		}, func() { c <- 1 }}
	case "mutex":
		m := &sync.Mutex{}
		m.Lock()
		return pair{m.Lock, m.Unlock}
	case "rwmutex":
		m := &sync.RWMutex{}
		m.Lock()
		return pair{m.RLock, m.Unlock}
	case "waitgroup":
		g := &sync.WaitGroup{}
		g.Add(1)
		return pair{g.Wait, g.Done}
	case "cond":
		m := &sync.Mutex{}
		c := sync.NewCond(m)
		set := false
		return pair{func() {
			m.Lock()
			for !set {
				c.Wait()
			}
			m.Unlock()
		}, func() {
			m.Lock()
			set = true
			m.Unlock()
			c.Signal()
		}}
	case "sleep":
		return pair{func() { time.Sleep(sleep) }, func() {}}
	}
	control.Fail("unknown kind %q", kind)
	control.Exit()
	return pair{}
}

var (
	waits    []*wait
	releases []func()
)

func goid() uint64 {
	text := make([]byte, 64)
	words := bytes.Fields(text[:runtime.Stack(text, false)])
	id, err := strconv.ParseUint(string(words[1]), 10, 64)
	if err != nil {
		control.Fail("no goroutine id: %v", err)
	}
	return id
}

func (w *wait) run(block func()) {
	w.id = goid()
	atomic.StoreInt64(&w.start, control.Monotonic())
	block()
	w.end = control.Monotonic()
	close(w.over)
}

// blockAll starts n goroutines and comes back when all of them block.
func blockAll(kind string, n int) {
	first := len(waits)
	for i := 0; i < n; i++ {
		w, p := &wait{kind: kind, over: make(chan struct{})}, newPair(kind)
		waits, releases = append(waits, w), append(releases, p.release)
		w.born = control.Monotonic()
		go w.run(p.block)
	}
	for _, w := range waits[first:] {
		control.Until("all have started", func() bool { return atomic.LoadInt64(&w.start) != 0 })
		control.Say("blocking %d %s %d %d", w.id, w.kind, w.born, w.start)
	}
}

func releaseAll() {
	for _, release := range releases {
		release()
	}
	for _, w := range waits {
		<-w.over
		control.Say("woke %d %s %d %d", w.id, w.kind, w.start, w.end)
	}
	control.Say("released %d", len(waits))
	waits, releases = nil, nil
}

func main() {
	old := flag.Int("old", 0, "goroutines of each kind that block before it is ready")
	flag.Parse()
	if *old > 0 {
		for _, kind := range kinds {
			blockAll(kind, *old)
		}
	}
	control.Say("ready")
	control.Serve(func(command string, args []string) {
		switch {
		case command == "block" && len(args) == 2:
			n, err := strconv.Atoi(args[1])
			if err != nil {
				control.Fail("%v", err)
				return
			}
			blockAll(args[0], n)
			control.Say("blocked %d", n)
		case command == "release":
			releaseAll()
		default:
			control.Fail("unknown command %q %q", command, args)
		}
	})
}
