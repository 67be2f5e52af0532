//go:build cgo

package main

// Up to 1.20 a program without cgo of its own that is linked externally lacks runtime/cgo, and
// aborts at its start where the C library is linked in too: its thread-local storage is not where
// the runtime looks for it.
import _ "runtime/cgo"
