//go:build go1.23

package main

import "iter"

// openNewerCages holds what newer Go versions added: coroutines.
func openNewerCages() {
	forever := make(chan int)
	keep = append(keep, forever)
	numbers := func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
	}
	for i := 0; i < 3; i++ {
		next, stop := iter.Pull(numbers)
		next()
		keep = append(keep, next, stop)
	}
	blocked := func(yield func(int) bool) {
		<-forever
		yield(1)
	}
	go func() {
		next, _ := iter.Pull(blocked)
		next()
	}()
}
