package main

type pair[A, B any] struct {
	a A
	b B
}

//go:noinline
func generic[T any](v T, c chan int) T {
	func() {
		<-c
	}()
	return v
}

type holder[T any] struct{ v T }

//go:noinline
func (h *holder[T]) wait(c chan int) T {
	<-c
	return h.v
}

func (h holder[T]) waitByValue(c chan int) { <-c }
