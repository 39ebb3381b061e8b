// The line echo of the tests (see echo.c), in Go: its own system calls, without libc, many goroutines. Listeners ask
// for MPTCP, as is the default since Go 1.24; clients do so with GODEBUG=multipathtcp=1. Builds with Go 1.19, too.
//
//	echo serve PORT
//	echo connect ADDRESS:PORT...   three connections to each at a time
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
)

const (
	rounds  = 2
	atATime = 3
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: echo serve PORT | connect ADDRESS:PORT...")
		os.Exit(2)
	}
	var err error
	if os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else {
		err = connect(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func serve(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			reader := bufio.NewReader(connection)
			for {
				line, err := reader.ReadString('\n')
				if err != nil {
					return
				}
				fmt.Fprintf(connection, "%s %s", connection.RemoteAddr(), line)
			}
		}()
	}
}

func connect(targets []string) error {
	var group sync.WaitGroup
	failures := make(chan error, atATime*len(targets))
	for _, target := range targets {
		for count := 0; count < atATime; count++ {
			group.Add(1)
			go func(target string) {
				defer group.Done()
				if err := converse(target); err != nil {
					failures <- err
				}
			}(target)
		}
	}
	group.Wait()
	close(failures)
	return <-failures
}

func converse(target string) error {
	connection, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	var seen string
	for round := 0; round < rounds; round++ {
		line := fmt.Sprintf("line %d\n", round)
		if _, err := connection.Write([]byte(line)); err != nil {
			return err
		}
		answer, err := reader.ReadString('\n')
		if err != nil {
			return err
		}
		if seen = strings.TrimSuffix(answer, " "+line); seen == answer {
			return fmt.Errorf("%s answers %q", target, answer)
		}
	}
	fmt.Printf("{\"local\":%q,\"peer\":%q,\"seen\":%q}\n", connection.LocalAddr(), connection.RemoteAddr(), seen)
	return nil
}
