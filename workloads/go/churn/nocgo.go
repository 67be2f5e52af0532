//go:build !cgo

package main

const usesCgo = false

func throughC(n int) int { return n + 3 }
