// Package checked is a package whose tests leave goroutines behind, each in its own way, or do not: what
// `loiter check` is tested with. -run chooses.
package checked

import (
	"sync"
	"time"
)

// Poller looks after something until it is stopped.
type Poller struct {
	stop chan struct{}
	done sync.WaitGroup
}

// StartPoller starts one.
func StartPoller(every time.Duration) *Poller {
	p := &Poller{stop: make(chan struct{})}
	p.done.Add(1)
	go p.loop(every)
	return p
}

func (p *Poller) loop(every time.Duration) {
	defer p.done.Done()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
	}
}

// Stop ends it and waits for its end.
func (p *Poller) Stop() {
	close(p.stop)
	p.done.Wait()
}

// StopSoon ends it and does not wait: it takes a while to end.
func (p *Poller) StopSoon(after time.Duration) {
	go func() {
		time.Sleep(after)
		close(p.stop)
	}()
}

// Fetch gives the first of several answers; the others have nobody who takes them.
func Fetch(sources int) int {
	answers := make(chan int)
	for i := 0; i < sources; i++ {
		i := i
		go func() { answers <- i }()
	}
	return <-answers
}
