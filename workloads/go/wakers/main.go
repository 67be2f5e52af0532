// Wakers has goroutines of which it is known who wakes them: nobody (timers, deadlines), or one other goroutine.
//
// Lines: "ready sleeper=ID deadline=ID receiver=ID sender=ID locker=ID unlocker=ID main=ID", ids of goroutines. The
// receiver is woken by the sender alone, the locker by the unlocker alone, the sleeper and the
// one that waits for a read deadline by no goroutine.
package main

import (
	"bytes"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"loiter/workloads/control"
)

// id of the goroutine that calls it, from the first line of its own stack: "goroutine 7 [running]:".
func id() uint64 {
	var room [64]byte
	words := bytes.Fields(room[:runtime.Stack(room[:], false)])
	number, err := strconv.ParseUint(string(words[1]), 10, 64)
	if err != nil {
		control.Fail("no id in %q", room)
	}
	return number
}

// start runs a function on a goroutine and gives its id.
func start(run func()) uint64 {
	told := make(chan uint64)
	go func() {
		told <- id()
		run()
	}()
	return <-told
}

func main() {
	sleeper := start(func() {
		for {
			time.Sleep(3 * time.Millisecond)
		}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
	silent, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		control.Fail("%v", err)
		control.Exit()
	}
	deadline := start(func() {
		for {
			silent.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
			silent.Read(make([]byte, 1))
		}
	})
	values := make(chan int)
	receiver := start(func() {
		for range values {
		}
	})
	sender := start(func() {
		for i := 0; ; i++ {
			time.Sleep(2 * time.Millisecond)
			values <- i
		}
	})
	var lock sync.Mutex
	turns := make(chan struct{})
	unlocker := start(func() {
		for {
			lock.Lock()
			turns <- struct{}{}
			time.Sleep(2 * time.Millisecond)
			lock.Unlock()
			turns <- struct{}{}
		}
	})
	locker := start(func() {
		for {
			<-turns
			lock.Lock()
			lock.Unlock()
			<-turns
		}
	})
	control.Say("ready sleeper=%d deadline=%d receiver=%d sender=%d locker=%d unlocker=%d main=%d",
		sleeper, deadline, receiver, sender, locker, unlocker, id())
	control.WaitForEnd()
}
