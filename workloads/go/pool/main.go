// Pool has N workers that wait for work, as a pool does: healthy, however long it lasts. Nothing leaks.
//
//	-n N        workers (1 000)
//	-on WHAT    what they wait on: chan, select or cond (chan)
//	-warm N     jobs done before it is ready (1 000)
//
// Lines: "ready N". Commands "work N" gives N jobs to the workers, and answers "worked N" when they are done; "grow N"
// starts N workers more, and answers "grown N".
package main

import (
	"flag"
	"strconv"
	"sync"

	"loiter/workloads/control"
)

type job func()

// pool is one way to hand jobs to workers.
type pool interface {
	worker()
	give(job)
}

type chanPool struct{ jobs chan job }

func (p *chanPool) worker() {
	for j := range p.jobs {
		j()
	}
}

func (p *chanPool) give(j job) { p.jobs <- j }

type selectPool struct {
	jobs chan job
	stop chan struct{}
}

func (p *selectPool) worker() {
	for {
		select {
		case j := <-p.jobs:
			j()
		case <-p.stop:
			return
		}
	}
}

func (p *selectPool) give(j job) { p.jobs <- j }

type condPool struct {
	mutex sync.Mutex
	some  *sync.Cond
	jobs  []job
}

func (p *condPool) worker() {
	for {
		p.mutex.Lock()
		for len(p.jobs) == 0 {
			p.some.Wait()
		}
		j := p.jobs[0]
		p.jobs = p.jobs[1:]
		p.mutex.Unlock()
		j()
	}
}

func (p *condPool) give(j job) {
	p.mutex.Lock()
	p.jobs = append(p.jobs, j)
	p.mutex.Unlock()
	p.some.Signal()
}

func newPool(on string) pool {
	switch on {
	case "select":
		return &selectPool{make(chan job), make(chan struct{})}
	case "cond":
		p := &condPool{}
		p.some = sync.NewCond(&p.mutex)
		return p
	default:
		return &chanPool{make(chan job)}
	}
}

func work(p pool, n int) {
	var done sync.WaitGroup
	done.Add(n)
	for i := 0; i < n; i++ {
		p.give(done.Done)
	}
	done.Wait()
}

func main() {
	n := flag.Int("n", 1_000, "workers")
	on := flag.String("on", "chan", "what they wait on: chan, select or cond")
	warm := flag.Int("warm", 1_000, "jobs done before it is ready")
	flag.Parse()
	p := newPool(*on)
	for i := 0; i < *n; i++ {
		go p.worker()
	}
	work(p, *warm)
	control.Say("ready %d", *n)
	control.Serve(func(command string, args []string) {
		if len(args) != 1 {
			control.Fail("unknown command %q %q", command, args)
			return
		}
		n, err := strconv.Atoi(args[0])
		switch {
		case err != nil:
			control.Fail("%v", err)
		case command == "work":
			work(p, n)
			control.Say("worked %d", n)
		case command == "grow":
			for i := 0; i < n; i++ {
				go p.worker()
			}
			control.Say("grown %d", n)
		default:
			control.Fail("unknown command %q", command)
		}
	})
}
