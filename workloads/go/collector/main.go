// Collector collects garbage when it is told to, and says when its runtime thinks it did. Nothing leaks.
//
// Lines: "ready". Command "gc N" collects N times; answers "collected END PAUSE": when the last one ended, in ns since the Unix epoch,
// and for how many ns the program stood still for it.
package main

import (
	"runtime"
	"runtime/debug"
	"strconv"

	"loiter/workloads/control"
)

func main() {
	debug.SetGCPercent(-1)
	control.Say("ready")
	control.Serve(func(command string, args []string) {
		if command != "gc" || len(args) != 1 {
			control.Fail("unknown command %q %q", command, args)
			return
		}
		n, err := strconv.Atoi(args[0])
		if err != nil {
			control.Fail("%v", err)
			return
		}
		for i := 0; i < n; i++ {
			runtime.GC()
		}
		var stats debug.GCStats
		debug.ReadGCStats(&stats)
		control.Say("collected %d %d", stats.LastGC.UnixNano(), stats.Pause[0].Nanoseconds())
	})
}
