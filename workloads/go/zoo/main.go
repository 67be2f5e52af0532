// The zoo holds one goroutine of every kind that can wait, and knows the truth about each.
//
// It is driven over stdin, one command a line, and answers on stdout:
//
//	dump     DUMP <bytes>, then that many bytes: its own goroutine?debug=2
//	truth    TRUTH <bytes>, then lines "goid<TAB>what<TAB>values": what each goroutine waits on
//	bulk N   spawns N more parked goroutines, then OK
//	churn    starts goroutines that are born, run and die all the time, then OK
//	quit     exits
//
// Anything that looks leaked here is meant to be: every goroutine waits for ever.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

var truth struct {
	sync.Mutex
	lines []string
}

// goid reads the id of the calling goroutine from its own stack header.
func goid() string {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	return string(bytes.Fields(buf)[1])
}

// tell notes what the calling goroutine is about to wait on.
func tell(what string, values ...any) {
	line := goid() + "\t" + what
	for _, v := range values {
		line += fmt.Sprintf("\t%v", v)
	}
	truth.Lock()
	truth.lines = append(truth.lines, line)
	truth.Unlock()
}

func dump() []byte {
	var out bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&out, 2); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// settle waits until no goroutine but this one is about to run.
func settle() {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		d := string(dump())
		if strings.Count(d, " [runnable") == 0 && strings.Count(d, " [running") <= 1 {
			return
		}
	}
}

func answer(out *bufio.Writer, word string, body []byte) {
	fmt.Fprintf(out, "%s %d\n", word, len(body))
	out.Write(body)
	out.Flush()
}

func main() {
	openCages()
	openNewerCages()
	openForeignCages()
	settle()
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "READY %d\n", runtime.NumGoroutine())
	out.Flush()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		words := strings.Fields(in.Text())
		switch words[0] {
		case "dump":
			answer(out, "DUMP", dump())
		case "truth":
			truth.Lock()
			body := strings.Join(truth.lines, "\n") + "\n"
			truth.Unlock()
			answer(out, "TRUTH", []byte(body))
		case "bulk":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				panic(err)
			}
			bulk(n)
			fmt.Fprintln(out, "OK")
			out.Flush()
		case "churn":
			go churn()
			fmt.Fprintln(out, "OK")
			out.Flush()
		case "quit":
			return
		}
	}
}
