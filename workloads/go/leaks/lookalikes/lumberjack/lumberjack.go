// Package lumberjack is a look-alike of gopkg.in/natefinch/lumberjack.v2: it writes nothing, and keeps the goroutine that each
// Logger has, which waits on a channel that nobody closes, in functions of the same names. Nothing is copied from the original.
package lumberjack

import "sync"

// Logger takes what is written to a log.
type Logger struct {
	Filename  string
	written   int
	millCh    chan bool
	startMill sync.Once
}

// Write takes one line, and has old files looked after, as the original does at its first write.
func (l *Logger) Write(line []byte) (int, error) {
	l.written += len(line)
	l.mill()
	return len(line), nil
}

// Close closes the file. The goroutine stays: the original has no way to end it either.
func (l *Logger) Close() error { return nil }

func (l *Logger) millRun() {
	for range l.millCh {
		_ = l.millRunOnce()
	}
}

func (l *Logger) millRunOnce() error { return nil }

func (l *Logger) mill() {
	l.startMill.Do(func() {
		l.millCh = make(chan bool, 1)
		go l.millRun()
	})
	select {
	case l.millCh <- true:
	default:
	}
}
