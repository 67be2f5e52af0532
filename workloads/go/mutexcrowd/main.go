// Mutexcrowd has N goroutines that all wait for one mutex. Its holder waits for an answer that never
// comes: a real stand-still.
//
//	-n N   goroutines (23 000)
//
// Lines: "ready N LOCK_ADDRESS HOLDER_GOID". Command "release" lets the holder go on; answers "released N" when all have had the lock.
package main

import (
	"bytes"
	"flag"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"loiter/workloads/control"
)

// ledger is what the mutex guards.
type ledger struct {
	sync.Mutex
	entries int
}

var book = &ledger{}

// hold takes the lock and keeps it until the answer comes.
func (l *ledger) hold(taken chan<- uint64, answer <-chan struct{}) {
	l.Lock()
	taken <- goid()
	<-answer
	l.Unlock()
}

// add waits for the lock.
func (l *ledger) add(done *sync.WaitGroup) {
	defer done.Done()
	l.Lock()
	l.entries++
	l.Unlock()
}

// waiters is how many wait for the lock: state >> mutexWaiterShift (sync/mutex.go, Go 1.9 and later).
func (l *ledger) waiters() int {
	return int(atomic.LoadInt32((*int32)(unsafe.Pointer(&l.Mutex))) >> 3)
}

// goid is the number in "goroutine N [...]".
func goid() uint64 {
	text := make([]byte, 64)
	words := bytes.Fields(text[:runtime.Stack(text, false)])
	id, err := strconv.ParseUint(string(words[1]), 10, 64)
	if err != nil {
		control.Fail("no goroutine id: %v", err)
	}
	return id
}

func main() {
	n := flag.Int("n", 23_000, "goroutines")
	flag.Parse()
	taken, answer := make(chan uint64), make(chan struct{})
	go book.hold(taken, answer)
	holder := <-taken
	var done sync.WaitGroup
	for i := 0; i < *n; i++ {
		done.Add(1)
		go book.add(&done)
	}
	control.Until("all wait for the lock", func() bool { return book.waiters() == *n })
	// The count is raised just before the last one parks.
	time.Sleep(100 * time.Millisecond)
	control.Say("ready %d %#x %d", *n, uintptr(unsafe.Pointer(book)), holder)
	control.Serve(func(command string, _ []string) {
		switch command {
		case "release":
			close(answer)
			done.Wait()
			if book.entries != *n {
				control.Fail("%d entries, not %d", book.entries, *n)
			}
			control.Say("released %d", *n)
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
