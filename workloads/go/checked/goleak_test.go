//go:build !goleak

package checked

import (
	"runtime"
	"strings"
	"time"
)

// leaked says who created the goroutines that are left, as go.uber.org/goleak finds them: all but this one
// and those of the runtime's signal handling, asked again for a while.
func leaked() []string {
	var creators []string
	for try := 0; try < 20; try++ {
		creators = nil
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for i, stack := range strings.Split(string(stacks), "\n\n") {
			if i == 0 || strings.Contains(stack, "os/signal.loop") || strings.Contains(stack, "runtime.ensureSigM") {
				continue
			}
			_, after, _ := strings.Cut(stack, "created by ")
			creator, _, _ := strings.Cut(after, "\n")
			creator, _, _ = strings.Cut(creator, " in goroutine")
			creators = append(creators, creator)
		}
		if len(creators) == 0 {
			break
		}
		time.Sleep(time.Duration(try) * 10 * time.Millisecond)
	}
	return creators
}
