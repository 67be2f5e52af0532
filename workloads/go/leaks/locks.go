package main

import (
	"errors"
	"sync"
	"time"
)

// A WaitGroup without Done: a worker that returns early has not said that it is done. The fix is a deferred Done.

func closeWhenDone(group *sync.WaitGroup, results chan int) {
	group.Wait()
	close(results)
}

func fetchAll(n int, fixed bool) {
	var group sync.WaitGroup
	results := make(chan int, 4)
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func(i int) {
			if fixed {
				defer group.Done()
			}
			if loses(n) && i == 2 {
				return
			}
			results <- i
			if !fixed {
				group.Done()
			}
		}(i)
	}
	go closeWhenDone(&group, results)
}

func waitgroupNoDone(fixed bool) func() {
	return func() {
		drive(10, func(n int) { fetchAll(n, fixed) })
	}
}

// Batches of 45 s: at each moment some wait for theirs.
func longBatches() {
	batch := func(int) {
		group, results := new(sync.WaitGroup), make(chan int)
		for i := 0; i < 4; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				time.Sleep(45 * time.Second)
			}()
		}
		go closeWhenDone(group, results)
	}
	go func() {
		for n := 0; ; n++ {
			batch(n)
			time.Sleep(5 * time.Second)
		}
	}()
}

// A mutex never unlocked: one early return, and all who come after wait. The fix is a deferred Unlock.

type ledger struct {
	mutex   sync.Mutex
	entries int
}

var errBroke = errors.New("not enough money")

func (l *ledger) book(n int) error {
	l.mutex.Lock()
	if n == 40 {
		return errBroke
	}
	l.entries++
	l.mutex.Unlock()
	return nil
}

func (l *ledger) bookDeferred(n int) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if n == 40 {
		return errBroke
	}
	l.entries++
	return nil
}

func mutexNeverUnlocked(fixed bool) func() {
	return func() {
		l := &ledger{}
		drive(5, func(n int) {
			if fixed {
				go l.bookDeferred(n)
			} else {
				go l.book(n)
			}
		})
	}
}

// Thirty who each hold the lock for 300 ms, again and again: each waits nine seconds for it, and gets it.
func contendedMutex() {
	l := &ledger{}
	for i := 0; i < 30; i++ {
		go func() {
			for {
				l.mutex.Lock()
				l.entries++
				time.Sleep(300 * time.Millisecond)
				l.mutex.Unlock()
			}
		}()
	}
}

// A read lock never released: the next writer waits for it, and all readers after that for the writer.

type cache struct {
	lock  sync.RWMutex
	pages map[int]int
}

func (c *cache) page(n int, fixed bool) (int, error) {
	c.lock.RLock()
	if fixed {
		defer c.lock.RUnlock()
	}
	if n == 40 {
		return 0, errors.New("no such page")
	}
	page := c.pages[n]
	if !fixed {
		c.lock.RUnlock()
	}
	return page, nil
}

func (c *cache) store(n int) {
	c.lock.Lock()
	c.pages[n] = n
	c.lock.Unlock()
}

func rwmutexNeverUnlocked(fixed bool) func() {
	return func() {
		c := &cache{pages: map[int]int{}}
		drive(5, func(n int) {
			if n%10 == 9 {
				go c.store(n)
			} else {
				go c.page(n, fixed)
			}
		})
	}
}

// Readers that take 15 s; a writer, and readers behind it, wait that long.
func slowReaders() {
	c := &cache{pages: map[int]int{}}
	read := func() {
		c.lock.RLock()
		time.Sleep(15 * time.Second)
		c.lock.RUnlock()
	}
	go func() {
		for {
			go read()
			go read()
			time.Sleep(time.Second)
			go c.store(1)
			time.Sleep(time.Second)
			go c.page(1, true)
			time.Sleep(20 * time.Second)
		}
	}()
}

// A Cond that nobody signals: the state was changed without a word. The fix is a Broadcast.

type latch struct {
	mutex   sync.Mutex
	changed *sync.Cond
	open    bool
}

func newLatch() *latch {
	l := &latch{}
	l.changed = sync.NewCond(&l.mutex)
	return l
}

func (l *latch) pass() {
	l.mutex.Lock()
	for !l.open {
		l.changed.Wait()
	}
	l.mutex.Unlock()
}

func (l *latch) unlatch(tell func()) {
	l.mutex.Lock()
	l.open = true
	l.mutex.Unlock()
	tell()
}

func condNeverSignalled(fixed bool) func() {
	return func() {
		drive(rate, func(n int) {
			l := newLatch()
			arrived := make(chan struct{})
			go func() {
				close(arrived)
				l.pass()
			}()
			<-arrived
			// It must be in its wait before the latch is opened.
			time.Sleep(10 * time.Millisecond)
			if fixed || !loses(n) {
				l.unlatch(l.changed.Broadcast)
			} else {
				l.unlatch(func() {})
			}
		})
	}
}

// A pool of workers on a Cond, with little to do.
func poolOfCond() {
	var mutex sync.Mutex
	some, jobs := sync.NewCond(&mutex), 0
	for i := 0; i < 12; i++ {
		go func() {
			for {
				mutex.Lock()
				for jobs == 0 {
					some.Wait()
				}
				jobs--
				mutex.Unlock()
			}
		}()
	}
	go func() {
		for range time.Tick(10 * time.Second) {
			mutex.Lock()
			jobs++
			mutex.Unlock()
			some.Signal()
		}
	}()
}
