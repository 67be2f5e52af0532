package main

import (
	"sync"
	"time"
)

// Every 40 s three hundred come at once and wait for one of ten places, half a second each: in 15 s all have been served.
func burst() {
	places := make(chan struct{}, 10)
	serve := func() {
		places <- struct{}{}
		time.Sleep(500 * time.Millisecond)
		<-places
	}
	go func() {
		for {
			for i := 0; i < 300; i++ {
				go serve()
			}
			time.Sleep(40 * time.Second)
		}
	}()
}

// Subscribers that come, two a second, for 75 s, and stay. By the clock: a ramp that took longer where the
// program is slow would be another one.
func ramp() {
	start := time.Now()
	var mutex sync.Mutex
	var subscribers []chan int
	follow := func(news <-chan int, gone <-chan struct{}) {
		for {
			select {
			case <-news:
			case <-gone:
				return
			}
		}
	}
	drive(2, func(int) {
		if time.Since(start) < 75*time.Second {
			news := make(chan int, 1)
			mutex.Lock()
			subscribers = append(subscribers, news)
			mutex.Unlock()
			go follow(news, make(chan struct{}))
		}
	})
	go func() {
		for range time.Tick(45 * time.Second) {
			mutex.Lock()
			for _, news := range subscribers {
				news <- 1
			}
			mutex.Unlock()
		}
	}()
}

// flight is a call that many wait for.
type flight struct{ done sync.WaitGroup }

// Fifty callers at a time want what one of them fetches, in 35 s.
func singleflight() {
	call := func() {
		f := &flight{}
		f.done.Add(1)
		for i := 0; i < 50; i++ {
			go func() { f.done.Wait() }()
		}
		time.Sleep(35 * time.Second)
		f.done.Done()
	}
	go func() {
		for {
			call()
			time.Sleep(5 * time.Second)
		}
	}()
}

// A task is spread over twenty goroutines of which each takes 10 to 50 s, and gathered; three at a time.
func errgroupFanOut() {
	gather := func(results chan<- error) {
		var group sync.WaitGroup
		for i := 0; i < 20; i++ {
			length := time.Duration(10+2*i) * time.Second
			group.Add(1)
			go func() {
				defer group.Done()
				time.Sleep(length)
			}()
		}
		group.Wait()
		results <- nil
	}
	for i := 0; i < 3; i++ {
		go func() {
			results := make(chan error)
			for {
				go gather(results)
				<-results
			}
		}()
	}
}
