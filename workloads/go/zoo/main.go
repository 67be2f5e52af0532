// The zoo holds one goroutine of every kind that can wait, and knows the truth about each.
//
// It says "ready N" when N goroutines stand still, and is driven over stdin, one command a line:
//
//	dump PATH    writes its own goroutine?debug=2 to a file, then says "dumped"
//	truth PATH   writes lines "goid<TAB>what<TAB>values": what each goroutine waits on; "told"
//	bulk N       spawns N more parked goroutines, then says "ok"
//	churn        has goroutines born, run and die from now on, then says "ok"
//
// It ends when stdin is closed.
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

func main() {
	openCages()
	openNewerCages()
	openForeignCages()
	settle()
	fmt.Printf("ready %d\n", runtime.NumGoroutine())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		obey(strings.Fields(in.Text()))
	}
}

func obey(words []string) {
	switch words[0] {
	case "dump":
		check(os.WriteFile(words[1], dump(), 0o600))
		fmt.Println("dumped")
	case "truth":
		truth.Lock()
		lines := strings.Join(truth.lines, "\n") + "\n"
		truth.Unlock()
		check(os.WriteFile(words[1], []byte(lines), 0o600))
		fmt.Println("told")
	case "bulk":
		n, err := strconv.Atoi(words[1])
		check(err)
		bulk(n)
		fmt.Println("ok")
	case "churn":
		go churn()
		fmt.Println("ok")
	}
}
