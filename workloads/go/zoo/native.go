//go:build !cgo

package main

func openForeignCages() {}
