// An HTTP server and its client of Go's standard library.
//
//	http-go serve PORT              ends in good order on SIGTERM
//	http-go request ADDRESS:PORT N  N requests on lasting connections, N on short ones; prints "done"
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const atATime = 10

func main() {
	var err error
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else if len(os.Args) == 4 && os.Args[1] == "request" {
		err = request(os.Args[2], os.Args[3])
	} else {
		err = fmt.Errorf("usage: http-go serve PORT | request ADDRESS:PORT N")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "http-go:", err)
		os.Exit(1)
	}
}

func serve(port string) error {
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		fmt.Fprintf(response, "%s %d", request.RemoteAddr, len(body))
	})}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() {
		<-stop
		ended <- server.Shutdown(context.Background())
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}

func request(target, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	for _, short := range []bool{false, true} {
		transport := &http.Transport{DisableKeepAlives: short, MaxIdleConnsPerHost: atATime}
		client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
		work := make(chan struct{}, n)
		for i := 0; i < n; i++ {
			work <- struct{}{}
		}
		close(work)
		failures := make(chan error, atATime)
		var workers sync.WaitGroup
		for i := 0; i < atATime; i++ {
			workers.Add(1)
			go func() {
				defer workers.Done()
				for range work {
					if err := post(client, "http://"+target+"/"); err != nil {
						failures <- err
						return
					}
				}
			}()
		}
		workers.Wait()
		transport.CloseIdleConnections()
		select {
		case err := <-failures:
			return err
		default:
		}
	}
	fmt.Println("done")
	return nil
}

// The server must see the name that the connection has here.
func post(client *http.Client, url string) error {
	var local string
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { local = info.Conn.LocalAddr().String() }}
	body := strings.NewReader(strings.Repeat("g", 20000))
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "POST", url, body)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if wanted := local + " 20000"; string(text) != wanted {
		return fmt.Errorf("the answer is %q, not %q", text, wanted)
	}
	return nil
}
