package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// peers asks the other nodes how they are, and answers them. Both sides show a
// certificate of the cluster's authority: who has none learns nothing, and can
// tell nobody that a cluster is there or not.
type peers struct {
	settings settings
	client   *http.Client
}

// credentials reads the certificate and the authority anew for each connection, so
// that a new one needs no restart.
func credentials(dir string) (tls.Certificate, *x509.CertPool, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return certificate, nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return certificate, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return certificate, nil, fmt.Errorf("%s has no certificate", filepath.Join(dir, "ca.crt"))
	}
	return certificate, pool, nil
}

func newPeers(s settings) *peers {
	dialer := &net.Dialer{Timeout: 2 * s.interval}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			certificate, pool, err := credentials(s.tls)
			if err != nil {
				return nil, err
			}
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			d := tls.Dialer{NetDialer: dialer, Config: &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: pool, ServerName: host, MinVersion: tls.VersionTLS13}}
			return d.DialContext(ctx, network, addr)
		},
	}
	return &peers{settings: s, client: &http.Client{Transport: transport, Timeout: 2 * s.interval}}
}

// serve answers the others until the context ends.
func (p *peers) serve(ctx context.Context, state func() recovery.Node) error {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			certificate, pool, err := credentials(p.settings.tls)
			return &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}, err
		},
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(p.settings.ip, strconv.Itoa(pod.PortPeers)), config)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /node", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer{Cluster: p.settings.cluster, Node: state()})
	})
	return serve(ctx, listener, mux)
}

// answer is a node, and the cluster that it means to belong to.
type answer struct {
	Cluster string        `json:"cluster"`
	Node    recovery.Node `json:"node"`
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ask asks all other nodes at once, and returns those that answered.
func (p *peers) ask(ctx context.Context) map[int]recovery.Node {
	var mu sync.Mutex
	var wg sync.WaitGroup
	found := map[int]recovery.Node{}
	for ordinal, host := range p.settings.peers {
		if ordinal == p.settings.ordinal {
			continue
		}
		wg.Go(func() {
			n, err := p.one(ctx, host)
			if err == nil && n.Ordinal == ordinal {
				mu.Lock()
				defer mu.Unlock()
				found[ordinal] = n
			}
		})
	}
	wg.Wait()
	return found
}

func (p *peers) one(ctx context.Context, host string) (recovery.Node, error) {
	var a answer
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(host, strconv.Itoa(pod.PortPeers))+"/node", nil)
	if err != nil {
		return a.Node, err
	}
	response, err := p.client.Do(r)
	if err != nil {
		return a.Node, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return a.Node, fmt.Errorf("%s: %s", host, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&a); err != nil {
		return a.Node, err
	}
	if a.Cluster != p.settings.cluster {
		return a.Node, fmt.Errorf("%s is a node of the cluster %q", host, a.Cluster)
	}
	return a.Node, nil
}
