// A service of a virtual machine whose first process is systemd: installs the package of loiter, has systemd start, reload, supervise
// and stop it while it watches a Go program, removes the package, and tells each step as a line of JSON on the second serial port.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

const (
	config = "/etc/loiter/loiter.toml"
	// In an emulated machine everything takes its time.
	patience = 3 * time.Minute
)

// A step, as it ended.
type step struct {
	Name   string `json:"name"`
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
}

var out *os.File

func main() {
	defer syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	var err error
	if out, err = os.OpenFile("/dev/ttyS1", os.O_WRONLY, 0); err != nil {
		fmt.Println(err)
		return
	}
	stop := service()
	install()
	start()
	reload()
	watchdog()
	run("stop", "systemctl", "stop", "loiter")
	show("stopped")
	run("journal", "journalctl", "--unit", "loiter", "--output", "cat", "--no-pager")
	hang()
	upgrade()
	remove()
	stop()
	tell(step{Name: "end"})
	out.Close()
	time.Sleep(200 * time.Millisecond)
}

// service starts the program to be watched; what it returns ends it.
func service() func() {
	command := exec.Command("/service", "send-full-buffer", "fixed")
	stdin, _ := command.StdinPipe()
	command.Stdout = os.Stdout
	result(step{Name: "service"}, command.Start())
	return func() {
		stdin.Close()
		result(step{Name: "service-ended"}, command.Wait())
	}
}

func install() {
	run("install", "dpkg", "--install", "/loiter.deb")
	show("installed")
	run("check-config", "loiter", "watch", "--check-config", "--config", config)
}

func start() {
	// An emulated processor would make every probe too expensive.
	change("configured", func(text string) string { return text + "budget = \"off\"\nevents = \"all\"\n" })
	run("start", "systemctl", "enable", "--now", "loiter")
	show("started")
	status, err := os.ReadFile("/proc/" + property("MainPID") + "/status")
	result(step{Name: "process", Stdout: string(status)}, err)
	for _, path := range []string{"healthz", "readyz"} {
		body, err := get(path)
		result(step{Name: path, Stdout: body}, err)
	}
	metrics("all", func(text string) bool {
		return mode(text, "all") && regexp.MustCompile(`(?m)^loiter_tasks_born_total\{[^}]*"service"[^}]*\} [1-9]`).MatchString(text)
	})
}

func reload() {
	was, _ := os.ReadFile(config)
	change("changed", func(text string) string {
		return text + "[[target]]\nname = \"service\"\nevents = \"lifecycle\"\n"
	})
	run("reload", "systemctl", "reload", "loiter")
	metrics("reloaded", func(text string) bool { return mode(text, "lifecycle") })
	change("broken", func(text string) string { return "no-such-key = 1\n" + text })
	run("reload-broken", "systemctl", "reload", "loiter")
	show("still")
	change("restored", func(string) string { return string(was) })
	run("reload-back", "systemctl", "reload", "loiter")
	metrics("back", func(text string) bool { return mode(text, "all") })
}

// watchdog waits until systemd heard of loiter once more.
func watchdog() {
	before := property("WatchdogTimestampMonotonic")
	after := before
	await("watchdog", func() (string, bool) {
		after = property("WatchdogTimestampMonotonic")
		return before + " " + after, before != "0" && after != before
	})
}

// hang stops loiter in its tracks; systemd has to start another one.
func hang() {
	run("start-again", "systemctl", "start", "loiter")
	was := property("MainPID")
	run("freeze", "kill", "-STOP", was)
	await("restarted", func() (string, bool) {
		told := property("NRestarts") + " " + property("ActiveState")
		return told, told == "1 active" && property("MainPID") != was
	})
}

// upgrade installs the package over itself: what runs has to be another process then.
func upgrade() {
	was := property("MainPID")
	run("upgrade", "dpkg", "--install", "/loiter.deb")
	now := property("MainPID")
	told := fmt.Sprintf("%s, another process %t", property("ActiveState"), now != was && now != "0")
	tell(step{Name: "upgraded", Stdout: told})
}

func remove() {
	was := property("MainPID")
	run("remove", "dpkg", "--remove", "loiter")
	_, alive := os.Stat("/proc/" + was)
	_, binary := os.Stat("/usr/bin/loiter")
	_, kept := os.Stat(config)
	told := fmt.Sprintf("process %t binary %t config %t", alive == nil, binary == nil, kept == nil)
	tell(step{Name: "removed", Stdout: told})
	run("purge", "dpkg", "--purge", "loiter")
	var left []string
	for _, path := range []string{config, "/etc/systemd/system/multi-user.target.wants/loiter.service", "/var/lib/loiter"} {
		if _, err := os.Lstat(path); err == nil {
			left = append(left, path)
		}
	}
	tell(step{Name: "purged", Stdout: "left: " + strings.Join(left, " ")})
}

// change rewrites the configuration.
func change(name string, edit func(string) string) {
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(edit(string(text))), 0o644)
	}
	result(step{Name: name}, err)
}

func mode(text, name string) bool {
	return regexp.MustCompile(`(?m)^loiter_mode\{[^}]*"service"[^}]*mode="` + name + `"[^}]*\} 1`).MatchString(text)
}

// metrics waits until what is told to Prometheus is so; tells what is told of the service.
func metrics(name string, so func(string) bool) {
	await(name, func() (string, bool) {
		text, err := get("metrics")
		if err != nil {
			return err.Error(), false
		}
		var lines []string
		for _, line := range strings.Split(text, "\n") {
			if strings.Contains(line, `"service"`) {
				lines = append(lines, line)
			}
		}
		return strings.Join(lines, "\n"), so(text)
	})
}

func await(name string, look func() (string, bool)) {
	end := time.Now().Add(patience)
	for {
		told, so := look()
		if so {
			tell(step{Name: name, Stdout: told})
			return
		}
		if time.Now().After(end) {
			result(step{Name: name, Stdout: told}, errors.New("did not come to be in time"))
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func get(path string) (string, error) {
	answer, err := http.Get("http://127.0.0.1:9464/" + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(body), err
}

func show(name string) {
	run(name, "systemctl", "show", "-p",
		"UnitFileState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus,NRestarts,StatusText,MemoryPeak,CapabilityBoundingSet", "loiter")
}

func property(name string) string {
	told, _ := exec.Command("systemctl", "show", "--value", "-p", name, "loiter").Output()
	return strings.TrimSpace(string(told))
}

func run(name string, words ...string) {
	var stdout, stderr bytes.Buffer
	command := exec.Command(words[0], words[1:]...)
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	result(step{Name: name, Stdout: stdout.String(), Stderr: stderr.String()}, err)
}

// result tells a step that failed if there is an error.
func result(done step, err error) {
	if err != nil {
		done.Code = 1
		done.Stderr += err.Error()
	}
	tell(done)
}

func tell(done step) {
	line, _ := json.Marshal(done)
	fmt.Fprintf(out, "%s\n", line)
}
