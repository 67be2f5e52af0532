package main

import (
	"errors"
	"sync/atomic"
	"time"

	"loiter/workloads/control"
)

// Send on an unbuffered channel with no receiver: the caller returns early, and the goroutine that has its answer
// cannot get rid of it. The fix is room for one.

func askBackend(n int, answer chan<- int) {
	answer <- n * n
}

func quote(n, room int) (int, error) {
	answer := make(chan int, room)
	go askBackend(n, answer)
	if loses(n) {
		return 0, errors.New("the customer has gone")
	}
	return <-answer, nil
}

func sendNoReceiver(room int) func() {
	return func() {
		drive(rate, func(n int) { quote(n, room) })
	}
}

// Three generators that are asked now and then.
func generators() {
	for i := 0; i < 3; i++ {
		numbers := make(chan int)
		go func() {
			for n := 0; ; n++ {
				numbers <- n
			}
		}()
		go func() {
			for range time.Tick(40 * time.Second) {
				<-numbers
			}
		}()
	}
}

// Send on a full buffered channel: the only consumer has returned at an error. The fix is a consumer that goes on.

var errFull = errors.New("the store is full")

type audit struct {
	entries chan int
	written int
	lost    uint64
}

func (a *audit) write(int) error {
	if a.written == 40 {
		return errFull
	}
	a.written++
	return nil
}

func (a *audit) consume() {
	for e := range a.entries {
		if a.write(e) != nil {
			return
		}
	}
}

func (a *audit) consumeAndGoOn() {
	for e := range a.entries {
		if a.write(e) != nil {
			atomic.AddUint64(&a.lost, 1)
		}
	}
}

func (a *audit) record(e int) {
	a.entries <- e
}

func sendFullBuffer(fixed bool) func() {
	return func() {
		a := &audit{entries: make(chan int, 8)}
		if fixed {
			go a.consumeAndGoOn()
		} else {
			go a.consume()
		}
		drive(5, func(n int) { go a.record(n) })
	}
}

// A queue that lets two pass a second, and about 80 senders in it: each waits 40 s, and its turn comes.
func rateLimited() {
	queue := make(chan int, 4)
	submit := func(n int) { queue <- n }
	for n := 0; n < 84; n++ {
		go submit(n)
	}
	go func() {
		for range time.Tick(time.Second / 2) {
			<-queue
		}
	}()
	drive(2, func(n int) { go submit(n) })
}

// Receive on a channel never closed: the worker of a job ranges over its parts, and a job that fails early does not say that there are
// no more. The fix is a deferred close.

func summarise(parts <-chan int) {
	sum := 0
	for part := range parts {
		sum += part
	}
}

func upload(n int, fixed bool) error {
	parts := make(chan int)
	go summarise(parts)
	if fixed {
		defer close(parts)
	}
	for i := 0; i < 3; i++ {
		parts <- i
	}
	if loses(n) {
		return errors.New("a part is damaged")
	}
	if !fixed {
		close(parts)
	}
	return nil
}

func rangeNeverClosed(fixed bool) func() {
	return func() {
		drive(rate, func(n int) { upload(n, fixed) })
	}
}

// A pool of workers with little to do.
func poolOfRange() {
	jobs := make(chan func())
	for i := 0; i < 8; i++ {
		go func() {
			for job := range jobs {
				job()
			}
		}()
	}
	go func() {
		for range time.Tick(10 * time.Second) {
			jobs <- func() {}
		}
	}()
}

// The same with a select, a hundred and fifty of them.
func poolOfSelect() {
	jobs, stop := make(chan func()), make(chan struct{})
	for i := 0; i < 150; i++ {
		go func() {
			for {
				select {
				case job := <-jobs:
					job()
				case <-stop:
					return
				}
			}
		}()
	}
	go func() {
		for range time.Tick(time.Second) {
			jobs <- func() {}
		}
	}()
}

// Receive of an answer that nobody sends: the one who would have has given up. The fix is to close the channel in any case.

func await(answer <-chan int) int {
	return <-answer
}

func receiveNoSender(fixed bool) func() {
	return func() {
		drive(rate, func(n int) {
			answer := make(chan int)
			go await(answer)
			switch {
			case !loses(n):
				answer <- n
			case fixed:
				close(answer)
			}
		})
	}
}

// Select without an exit: the loop of a session that ended. The fix is a channel that says so.

type session struct {
	in    chan string
	limit chan int
	done  chan struct{}
	seen  int
}

func newSession() *session {
	return &session{in: make(chan string), limit: make(chan int), done: make(chan struct{})}
}

func (s *session) loop() {
	for {
		select {
		case m := <-s.in:
			if m == "bye" {
				return
			}
			s.seen++
		case limit := <-s.limit:
			s.seen = limit
		}
	}
}

func (s *session) loopUntilDone() {
	for {
		select {
		case m := <-s.in:
			if m == "bye" {
				return
			}
			s.seen++
		case limit := <-s.limit:
			s.seen = limit
		case <-s.done:
			return
		}
	}
}

func selectNoExit(fixed bool) func() {
	return func() {
		drive(rate, func(n int) {
			s := newSession()
			if fixed {
				go s.loopUntilDone()
			} else {
				go s.loop()
			}
			s.in <- "hello"
			switch {
			case !loses(n):
				s.in <- "bye"
			case fixed:
				close(s.done)
			}
		})
	}
}

// Twenty sessions that say something twice a minute.
func quietSessions() {
	for i := 0; i < 20; i++ {
		s := newSession()
		go s.loopUntilDone()
		go func() {
			for range time.Tick(30 * time.Second) {
				s.in <- "still here"
			}
		}()
	}
}

// A channel that was never made. The fix is to make it.

type feed struct{ updates chan int }

func (f *feed) follow() int {
	return <-f.updates
}

func nilChannel(fixed bool) func() {
	return func() {
		drive(rate, func(n int) {
			f := &feed{}
			if fixed || !loses(n) {
				f.updates = make(chan int, 1)
				f.updates <- n
			}
			go f.follow()
		})
	}
}

// A nil channel in a select is a case that is switched off.
func nilCase() {
	for i := 0; i < 10; i++ {
		live := make(chan int)
		go func() {
			var off chan int
			for {
				select {
				case <-live:
				case off <- 1:
				}
			}
		}()
		go func() {
			for range time.Tick(40 * time.Second) {
				live <- 1
			}
		}()
	}
}

// A select without cases keeps a goroutine for ever. In main it is the usual way to keep a server up.

func keepUp(n int) {
	if loses(n) {
		select {}
	}
}

func selectEmpty() {
	drive(rate, func(n int) { go keepUp(n) })
}

func mainSelectEmpty() {
	drive(rate, func(n int) { go keepUp(0) })
	serve = func() {
		go control.WaitForEnd()
		select {}
	}
}

// A loop over a ticker that nothing ends. The fix is a channel that ends it.

func poll(stop <-chan struct{}) {
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for range ticker.C {
		select {
		case <-stop:
			return
		default:
		}
	}
}

func pollUntil(stop <-chan struct{}) {
	ticker := time.NewTicker(15 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
}

func tickerLoop(fixed bool) func() {
	return func() {
		drive(5, func(int) {
			stop := make(chan struct{})
			if fixed {
				go pollUntil(stop)
				close(stop)
			} else {
				go poll(nil)
			}
		})
	}
}

// Loops over tickers that run for ever on purpose.
func tickersForEver() {
	for _, period := range []time.Duration{time.Second, 10 * time.Second, time.Minute} {
		for i := 0; i < 10; i++ {
			period := period
			go func() {
				for range time.NewTicker(period).C {
				}
			}()
		}
	}
}

// Timers heaped up by time.After in a loop: up to Go 1.22 each lives until it fires. The heap grows; no goroutine is lost.
// The fix is one timer that is set again.
func timerHeap(fixed bool) func() {
	return func() {
		events := make(chan int)
		go func() {
			if fixed {
				watchdog(events)
			} else {
				watchdogAfter(events)
			}
		}()
		drive(200, func(n int) { events <- n })
	}
}

func watchdogAfter(events <-chan int) {
	for {
		select {
		case <-events:
		case <-time.After(time.Hour):
			return
		}
	}
}

func watchdog(events <-chan int) {
	timer := time.NewTimer(time.Hour)
	for {
		select {
		case <-events:
			if !timer.Stop() {
				<-timer.C
			}
			timer.Reset(time.Hour)
		case <-timer.C:
			return
		}
	}
}
