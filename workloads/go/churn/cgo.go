//go:build cgo

package main

/*
extern int backIntoGo(int);
static int intoC(int n) { return backIntoGo(n + 1) + 1; }
*/
import "C"

const usesCgo = true

//export backIntoGo
func backIntoGo(n C.int) C.int { return n + 1 }

// throughC goes into C, from there back into Go, and home again; each step adds one.
func throughC(n int) int { return int(C.intoC(C.int(n))) }
