package main

import (
	"context"
	"time"
)

// request is a context of another make than the library's: a child of it that can be cancelled has a goroutine that waits for
// the end of either.
type request struct {
	context.Context
	done chan struct{}
}

func newRequest() *request {
	return &request{context.Background(), make(chan struct{})}
}

func (r *request) Done() <-chan struct{} { return r.done }

// A context never cancelled: the goroutine of package context stays. The fix is to cancel it in any case.
func contextNotCancelled(fixed bool) func() {
	return func() {
		session := newRequest()
		drive(rate, func(n int) {
			_, cancel := context.WithCancel(session)
			if fixed || !loses(n) {
				cancel()
			}
		})
	}
}

// Contexts that end with their time, after 60 s.
func contextWithTimeout() {
	session := newRequest()
	drive(2, func(int) {
		_, cancel := context.WithTimeout(session, time.Minute)
		_ = cancel
	})
}

func releaseWith(ctx context.Context) {
	<-ctx.Done()
}

// A goroutine of the program's own that waits for the end of a context that nobody cancels.
func contextDone(fixed bool) func() {
	return func() {
		drive(rate, func(n int) {
			ctx, cancel := context.WithCancel(context.Background())
			go releaseWith(ctx)
			if fixed || !loses(n) {
				cancel()
			}
		})
	}
}

// Each of them waits 60 s, and ends.
func waits60s() {
	drive(2, func(int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_ = cancel
		go releaseWith(ctx)
	})
}

// One in ten waits 60 s, and ends; the others are back at once.
func mixed60s() {
	drive(rate, func(n int) {
		length := 20 * time.Millisecond
		if n%10 == 0 {
			length = time.Minute
		}
		ctx, cancel := context.WithTimeout(context.Background(), length)
		_ = cancel
		go releaseWith(ctx)
	})
}
