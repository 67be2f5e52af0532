//go:build goleak

package checked

import (
	"strings"

	"go.uber.org/goleak"
)

// leaked says who created the goroutines that are left, as go.uber.org/goleak itself finds them. Its module
// is not among this module's: the test that sets the tag says where it is.
func leaked() []string {
	err := goleak.Find()
	if err == nil {
		return nil
	}
	var creators []string
	for _, line := range strings.Split(err.Error(), "\n") {
		if creator, found := strings.CutPrefix(line, "created by "); found {
			creator, _, _ = strings.Cut(creator, " in goroutine")
			creators = append(creators, creator)
		}
	}
	return creators
}
