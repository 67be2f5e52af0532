// Churn does what probes could break: stacks that grow and are copied, garbage collections that scan and
// shrink stacks, panics that unwind, goroutines that come and go, and - built with cgo - calls into C and back. Each
// piece of work has a result that is known, and every one is checked.
//
//	-workers N  workers that go on until the input ends (4)
//
// Lines: "ready cgo=BOOL". Command "count" answers "count ROUNDS", "spawn" runs a child process and answers "spawned PID",
// "become" turns the process into another program, which ends with the input. A wrong result is "FAILED ...".
package main

import (
	"flag"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"

	"loiter/workloads/control"
)

var rounds uint64

// deep uses about 250 bytes of stack a level, so that stacks grow in several steps, and gives the
// sum 1 + ... + n.
//
//go:noinline
func deep(n int, pad [24]uint64) uint64 {
	pad[n%24] = uint64(n)
	if n == 0 {
		return 0
	}
	return pad[n%24] + deep(n-1, pad)
}

// recovered panics n levels deep and recovers here.
//
//go:noinline
func recovered(n int) (value int) {
	defer func() { value = recover().(int) }()
	var fall func(int)
	fall = func(level int) {
		if level == 0 {
			panic(n)
		}
		fall(level - 1)
	}
	fall(n)
	return -1
}

// relay hands a value through a chain of goroutines that are born for it; each adds one.
func relay(length int) int {
	first := make(chan int)
	last := first
	for i := 0; i < length; i++ {
		next := make(chan int)
		go func(in <-chan int, out chan<- int) { out <- <-in + 1 }(last, next)
		last = next
	}
	first <- 0
	return <-last
}

// garbage makes some, keeps a part and checks it after a collection.
func garbage(seed int) bool {
	kept := make([][]int, 0, 32)
	for i := 0; i < 256; i++ {
		piece := make([]int, 64)
		piece[i%64] = seed + i
		if i%8 == 0 {
			kept = append(kept, piece)
		}
	}
	if seed%16 == 0 {
		runtime.GC()
	}
	for i, piece := range kept {
		if piece[i*8%64] != seed+i*8 {
			return false
		}
	}
	return true
}

func worker(id int) {
	for i := 0; ; i++ {
		depth := 10 + (i*37+id*11)%1500
		done := make(chan uint64)
		// On a goroutine of its own: its stack starts small and must grow.
		go func() { done <- deep(depth, [24]uint64{}) }()
		if sum := <-done; sum != uint64(depth)*uint64(depth+1)/2 {
			control.Fail("deep(%d) = %d", depth, sum)
		}
		if value := recovered(i % 40); value != i%40 {
			control.Fail("recovered(%d) = %d", i%40, value)
		}
		if value := relay(8); value != 8 {
			control.Fail("relay(8) = %d", value)
		}
		if !garbage(i) {
			control.Fail("garbage(%d): kept memory has changed", i)
		}
		if value := throughC(i); value != i+3 {
			control.Fail("throughC(%d) = %d", i, value)
		}
		atomic.AddUint64(&rounds, 1)
	}
}

func main() {
	workers := flag.Int("workers", 4, "workers")
	flag.Parse()
	for i := 0; i < *workers; i++ {
		go worker(i)
	}
	control.Say("ready cgo=%v", usesCgo)
	control.Serve(func(command string, _ []string) {
		switch command {
		case "count":
			control.Say("count %d", atomic.LoadUint64(&rounds))
		case "spawn":
			child := exec.Command("/bin/true")
			if err := child.Run(); err != nil {
				control.Fail("/bin/true: %v", err)
			}
			control.Say("spawned %d", child.ProcessState.Pid())
		case "become":
			control.Fail("become: %v", syscall.Exec("/bin/cat", []string{"cat"}, os.Environ()))
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
