// Lab runs real hosts on this machine, see package lab.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/halinux/halinux/lab"
)

const usage = `usage: lab [-f topology.yaml] VERB ...

  setup                 install what this machine lacks for a lab (apt, root)
  image [GROUP ...]     build the images and the package mirror
  up [GROUP ...]        start what does not run, wait until all hosts answer ssh;
                        hosts of a group are left out unless it is named
  down                  remove the lab with its hosts' disks
  status                show the hosts
  ssh HOST [COMMAND]    root's shell on a host
  exec -- COMMAND       run a command on the controller
  crash HOST            power cut
  restart HOST          power off and on again
  replace HOST          put a fresh machine in its place: other disk, other keys
  cut HOST LINK         pull a cable
  cut HOST HOST [MATCH] stop frames between two; MATCH narrows it:
                        arp, icmp, vrrp, "proto N", "tcp PORT", "udp PORT"
  slow HOST [LINK] loss=20% delay=100ms rate=10mbit
                        make a link bad, in each direction
  heal [HOST [LINK|HOST]]
                        undo cut and slow

LAB_NAME tells several labs on one machine apart (default: lab).
`

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	flags := flag.NewFlagSet("lab", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	file := flags.String("f", "lab/topology.yaml", "topology")
	if err := flags.Parse(args); err != nil {
		return 2, nil
	}
	args = flags.Args()
	if len(args) == 0 {
		flags.Usage()
		return 2, nil
	}
	verb, args := args[0], args[1:]
	if os.Geteuid() != 0 {
		return 1, errors.New("the lab makes namespaces and mounts, run it as root")
	}
	want := func(n int, what string) error {
		if len(args) != n {
			return fmt.Errorf("usage: lab %s %s", verb, what)
		}
		return nil
	}
	if verb == "_kvm" {
		return code(0, lab.RunProbeGuest())
	}
	topology := ""
	switch verb {
	case "image", "up", "setup":
		topology = *file
	}
	var l *lab.Lab
	var err error
	if verb == "down" {
		l, err = lab.Find(os.Getenv("LAB_NAME"), os.Stderr)
	} else {
		l, err = lab.Open(os.Getenv("LAB_NAME"), topology, os.Stderr)
	}
	if err != nil {
		return 1, err
	}
	ctx := context.Background()
	if verb != "exec" && verb != "ssh" {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
	}
	switch verb {
	case "setup":
		err = l.Setup(ctx)
	case "image":
		err = l.Build(ctx, args...)
	case "up":
		if err = l.LinkInto("."); err == nil {
			err = l.Up(ctx, args...)
		}
	case "down":
		if err = l.Down(ctx); err == nil {
			err = l.Unlink(".")
		}
	case "status":
		err = l.Status(os.Stdout)
	case "crash":
		if err = want(1, "HOST"); err == nil {
			err = l.Crash(ctx, args[0])
		}
	case "restart":
		if err = want(1, "HOST"); err == nil {
			err = l.Restart(ctx, args[0])
		}
	case "replace":
		if err = want(1, "HOST"); err == nil {
			err = l.Replace(ctx, args[0])
		}
	case "cut":
		switch {
		case len(args) < 2:
			err = errors.New("usage: lab cut HOST LINK, or lab cut HOST HOST [MATCH]")
		case l.HasNode(args[1]):
			err = l.CutPair(ctx, args[0], args[1], strings.Join(args[2:], " "))
		case len(args) > 2:
			err = fmt.Errorf("there is no host %q", args[1])
		default:
			err = l.CutLink(ctx, args[0], args[1])
		}
	case "slow":
		if len(args) < 2 {
			return 2, errors.New("usage: lab slow HOST [LINK] loss=20% delay=100ms rate=10mbit")
		}
		link, words := "", args[1:]
		if !strings.Contains(words[0], "=") {
			link, words = words[0], words[1:]
		}
		var imp lab.Impairment
		if imp, err = lab.ParseImpairment(words); err == nil {
			err = l.Slow(ctx, args[0], link, imp)
		}
	case "heal":
		if len(args) > 2 {
			return 2, errors.New("usage: lab heal [HOST [LINK|HOST]]")
		}
		args = append(args, "", "")
		err = l.Heal(ctx, args[0], args[1])
	case "ssh":
		if len(args) == 0 {
			return 2, errors.New("usage: lab ssh HOST [COMMAND]")
		}
		return code(l.SSH(ctx, args[0], args[1:]))
	case "exec":
		if len(args) > 0 && args[0] == "--" {
			args = args[1:]
		}
		if len(args) == 0 {
			return 2, errors.New("usage: lab exec -- COMMAND")
		}
		return code(l.Exec(ctx, args))
	case "_host":
		if err = want(1, "HOST"); err == nil {
			err = l.Supervise(ctx, args[0])
		}
	case "_slow":
		if err = want(2, "HOST LINK"); err == nil {
			err = l.Carry(ctx, args[0], args[1])
		}
	case "_mirror":
		err = l.ServeMirror(ctx)
	default:
		return 2, fmt.Errorf("unknown verb %q, known: %s", verb, strings.Join(verbs, ", "))
	}
	return code(0, err)
}

var verbs = []string{"setup", "image", "up", "down", "status", "ssh", "exec", "crash", "restart", "replace", "cut", "slow", "heal"}

func code(c int, err error) (int, error) {
	if err != nil && c == 0 {
		c = 1
	}
	return c, err
}
