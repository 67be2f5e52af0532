// Cshared is a Go library inside a C program (host/host.c loads it): the runtime is not in the
// executable but in a shared object.
//
// Start(N) leaves N goroutines parked in a channel receive, which nothing ever sends to: leaked.
package main

import "C"

import "sync"

var gate = make(chan struct{})

func park(parked *sync.WaitGroup) {
	parked.Done()
	<-gate
}

// Start parks n goroutines and comes back when they are about to park.
//
//export Start
func Start(n C.int) {
	var parked sync.WaitGroup
	parked.Add(int(n))
	for i := 0; i < int(n); i++ {
		go park(&parked)
	}
	parked.Wait()
}

func main() {}
