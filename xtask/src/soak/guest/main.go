// The first and only process of a virtual machine beside what it starts: mounts what a container engine mounts, starts a
// service that leaks, runs loiter against it as /plan says, and tells each run as a line of JSON on the second serial port.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// For how long a finding is waited for: an emulated machine is slow where its host is busy.
const patience = 5 * time.Minute

// A run of loiter, as it ended.
type run struct {
	Name   string `json:"name"`
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

func main() {
	defer syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := syscall.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			fmt.Println("mount", m, err)
		}
	}
	out, err := os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	tell := func(r run) {
		line, _ := json.Marshal(r)
		fmt.Fprintf(out, "%s\n", line)
	}
	plan, err := os.ReadFile("/plan")
	if err != nil {
		tell(run{Name: "plan", Code: -1, Stderr: err.Error()})
		return
	}
	service := exec.Command("/service", "send-full-buffer", "leak")
	stdin, _ := service.StdinPipe()
	stdout, _ := service.StdoutPipe()
	if err := service.Start(); err != nil {
		tell(run{Name: "service", Code: -1, Stderr: err.Error()})
		return
	}
	ready := make([]byte, 4096)
	n, err := stdout.Read(ready)
	tell(run{Name: "service", Stdout: string(ready[:n]), Stderr: fmt.Sprint(err)})
	go func() {
		for {
			if _, err := stdout.Read(ready); err != nil {
				return
			}
		}
	}()
	for _, line := range strings.Split(strings.TrimSpace(string(plan)), "\n") {
		line = strings.ReplaceAll(line, "PID", strconv.Itoa(service.Process.Pid))
		words := strings.Fields(line)
		tell(loiter(words[0], words[1] == "finding", words[2:]))
	}
	alive := service.Process.Signal(syscall.Signal(0))
	tell(run{Name: "end", Stdout: fmt.Sprint(alive == nil)})
	stdin.Close()
	out.Close()
	time.Sleep(200 * time.Millisecond)
}

// What a run prints; a finding in it interrupts the run if that is what it is for.
type output struct {
	text  bytes.Buffer
	found func()
}

func (o *output) Write(part []byte) (int, error) {
	n, err := o.text.Write(part)
	if o.found != nil && bytes.Contains(o.text.Bytes(), []byte(`"loiter.finding/1"`)) {
		o.found()
		o.found = nil
	}
	return n, err
}

func loiter(name string, untilFound bool, args []string) run {
	var stdout output
	var stderr bytes.Buffer
	command := exec.Command("/loiter", args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	command.Env = []string{}
	interrupt := func() { command.Process.Signal(os.Interrupt) }
	if untilFound {
		stdout.found = interrupt
		defer time.AfterFunc(patience, interrupt).Stop()
	}
	err := command.Run()
	code := command.ProcessState.ExitCode()
	if command.ProcessState == nil {
		code = -1
		stderr.WriteString(err.Error())
	}
	return run{Name: name, Code: code, Stdout: stdout.text.String(), Stderr: stderr.String()}
}
