package main

import (
	"sync"
	"time"
)

var bulkLock sync.Mutex

func init() { bulkLock.Lock() }

// bulk spawns n goroutines with stacks as servers have them: some frames deep, of a few shapes.
func bulk(n int) {
	never := make(chan int)
	keep = append(keep, never)
	var ready sync.WaitGroup
	ready.Add(n)
	for i := 0; i < n; i++ {
		switch i % 4 {
		case 0:
			go worker(&ready, never)
		case 1:
			go handler(&ready, i%7, never)
		case 2:
			go locker(&ready)
		default:
			go sleeper(&ready)
		}
	}
	ready.Wait()
	settle()
}

func worker(ready *sync.WaitGroup, jobs chan int) {
	ready.Done()
	for job := range jobs {
		_ = job
	}
}

//go:noinline
func handler(ready *sync.WaitGroup, depth int, c chan int) int {
	if depth > 0 {
		return handler(ready, depth-1, c) + 1
	}
	ready.Done()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Hour):
		return 0
	}
}

func locker(ready *sync.WaitGroup) {
	ready.Done()
	bulkLock.Lock()
}

func sleeper(ready *sync.WaitGroup) {
	ready.Done()
	time.Sleep(time.Hour)
}

// churn has goroutines born, run and die, and stacks grow, while it is being looked at.
func churn() {
	for {
		var all sync.WaitGroup
		for i := 0; i < 50; i++ {
			all.Add(1)
			go func(depth int) {
				defer all.Done()
				grow(depth)
				time.Sleep(time.Millisecond)
				grow(depth * 2)
			}(i * 10)
		}
		all.Wait()
	}
}

//go:noinline
func grow(depth int) int {
	var room [128]byte
	if depth > 0 {
		room[depth%128] = byte(grow(depth - 1))
	}
	return int(room[depth%128])
}
