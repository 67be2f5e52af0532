package main

import (
	"context"
	"net"
	"os"
	"reflect"
	"runtime"
	"runtime/pprof"
	"sort"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var keep []any // keeps the other ends of the cages alive

func openCages() {
	channels()
	selects()
	locks()
	timers()
	inputs()
	shapes()
	panics()
	labelled()
}

func channels() {
	plain := make(chan int)
	go func() {
		tell("recv", addr(plain), cap(plain), len(plain), false)
		<-plain
	}()
	full := make(chan string, 3)
	full <- "a"
	full <- "b"
	full <- "c"
	go func() {
		tell("send", addr(full), cap(full), len(full), false)
		full <- "d"
	}()
	unread := make(chan struct{})
	go func() {
		tell("send", addr(unread), 0, 0, false)
		unread <- struct{}{}
	}()
	buffered := make(chan [40]byte, 7)
	go func() {
		tell("recv", addr(buffered), 7, 0, false)
		for range buffered {
		}
	}()
	go func() {
		var none chan int
		tell("nil")
		<-none
	}()
	go func() {
		var none chan int
		tell("nil")
		none <- 1
	}()
	keep = append(keep, plain, full, unread, buffered)
}

func selects() {
	a, b, c := make(chan int), make(chan string, 2), make(chan bool)
	var none chan int
	go func() {
		tell("select", addr(a), addr(b))
		select {
		case <-a:
		case <-b:
		}
	}()
	c2 := make(chan bool, 1)
	c2 <- true
	go func() {
		tell("select", addr(a), addr(c), addr(c2))
		select {
		case <-a:
		case v := <-c:
			_ = v
		case c2 <- false:
		case none <- 1:
		}
	}()
	go func() {
		tell("select")
		select {
		case <-none:
		case none <- 1:
		}
	}()
	go func() {
		tell("never")
		select {}
	}()
	keep = append(keep, a, b, c, c2)
}

func locks() {
	mutex := new(sync.Mutex)
	mutex.Lock()
	// Many: the runtime notes the start of every eighth wait.
	for i := 0; i < 120; i++ {
		go func() {
			tell("mutex", addr(mutex), monotonic())
			mutex.Lock()
		}()
	}
	read := new(sync.RWMutex)
	read.RLock()
	go func() {
		tell("rw-write", addr(read))
		read.Lock()
	}()
	written := new(sync.RWMutex)
	written.Lock()
	go func() {
		tell("rw-read", addr(written))
		written.RLock()
	}()
	twice := new(sync.RWMutex)
	twice.Lock()
	go func() {
		tell("mutex", addr(twice), monotonic())
		twice.Lock()
	}()
	group := new(sync.WaitGroup)
	group.Add(2)
	go func() {
		tell("waitgroup", addr(group))
		group.Wait()
	}()
	cond := sync.NewCond(new(sync.Mutex))
	for i := 0; i < 2; i++ {
		go func() {
			cond.L.Lock()
			tell("cond", addr(cond))
			cond.Wait()
		}()
	}
	once := new(sync.Once)
	for i := 0; i < 2; i++ {
		go once.Do(func() { select {} })
	}
	keep = append(keep, mutex, read, written, twice, group, cond, once)
}

func timers() {
	go func() {
		tell("sleep", 3600)
		time.Sleep(time.Hour)
	}()
	go func() { <-time.After(time.Hour) }()
	go func() {
		for range time.NewTicker(time.Hour).C {
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	child, cancelChild := context.WithCancel(ctx)
	go func() { <-child.Done() }()
	time.AfterFunc(time.Millisecond, func() { select {} })
	keep = append(keep, cancel, cancelChild)
}

func inputs() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() { _, _ = listener.Accept() }()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(err)
	go func() { _, _, _ = packets.ReadFrom(make([]byte, 10)) }()
	r, w, err := os.Pipe()
	check(err)
	go func() { _, _ = r.Read(make([]byte, 1)) }()
	var raw [2]int
	check(syscall.Pipe(raw[:]))
	go func() { _, _ = syscall.Read(raw[0], make([]byte, 1)) }()
	keep = append(keep, listener, packets, r, w)
}

func shapes() {
	forever := make(chan int)
	for _, depth := range []int{3, 30, 99, 100, 101, 180, 3000} {
		depth := depth
		go recurse(depth, forever)
	}
	go wide(forever)
	go inlinedOuter(forever)
	go generic(pair[int, string]{1, "a"}, forever)
	go (&holder[float64]{}).wait(forever)
	go holder[[]byte]{}.waitByValue(forever)
	var w waiter = value(3)
	go w.wait(forever)
	go embedding{waiter: w}.wait(forever)
	f := w.wait
	go f(forever)
	go func() {
		runtime.LockOSThread()
		<-forever
	}()
	go func() { reflect.ValueOf(waitOn).Call([]reflect.Value{reflect.ValueOf(forever)}) }()
	made := reflect.MakeFunc(reflect.TypeOf(func() {}), func([]reflect.Value) []reflect.Value {
		<-forever
		return nil
	}).Interface().(func())
	go made()
	go sort.Slice([]int{2, 1}, func(i, j int) bool { <-forever; return i < j })
	go func() {
		defer func() { <-forever }()
	}()
	keep = append(keep, forever)
}

func panics() {
	forever := make(chan int)
	go func() {
		defer func() { <-forever }()
		panic("kept")
	}()
	go func() {
		defer func() { <-forever }()
		var p *[4]int
		p[2]++
	}()
	go func() {
		defer func() { <-forever }()
		runtime.Goexit()
	}()
	go func() {
		defer func() { <-forever }()
		func() {
			defer func() { panic("again") }()
			panic("once")
		}()
	}()
	keep = append(keep, forever)
}

func labelled() {
	forever := make(chan int)
	go pprof.Do(context.Background(), pprof.Labels("service", "orders", "tenant", "ä b"), func(ctx context.Context) {
		tell("labels", "service=orders", "tenant=ä b")
		<-forever
	})
	keep = append(keep, forever)
}

func waitOn(c chan int) { <-c }

//go:noinline
func recurse(depth int, c chan int) int {
	if depth == 0 {
		return <-c
	}
	return recurse(depth-1, c) + 1
}

//go:noinline
func wide(c chan int) byte {
	var room [70000]byte
	room[<-c%70000] = 1
	return room[len(keep)]
}

func inlinedOuter(c chan int) int  { return inlinedMiddle(c) + 1 }
func inlinedMiddle(c chan int) int { return inlinedInner(c) + 2 }
func inlinedInner(c chan int) int  { return <-c }

type waiter interface{ wait(chan int) }

type value int

func (v value) wait(c chan int) {
	for range c {
		_ = v
	}
}

type embedding struct{ waiter }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// monotonic is CLOCK_MONOTONIC in nanoseconds.
func monotonic() int64 {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		panic(errno)
	}
	return t.Nano()
}

// addr is the address of what a channel or pointer points to.
func addr(v any) string {
	return "0x" + hex(uint64(reflect.ValueOf(v).Pointer()))
}

func hex(n uint64) string {
	const digits = "0123456789abcdef"
	if n < 16 {
		return digits[n : n+1]
	}
	return hex(n/16) + digits[n%16:n%16+1]
}
