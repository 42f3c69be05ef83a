package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func httpSender(s Settings) (request, error) {
	method, alive := http.MethodGet, false
	switch s.Mode {
	case "new":
	case "keepalive":
		alive = true
	case "post":
		method = http.MethodPost
	case "keepalive-post":
		method, alive = http.MethodPost, true
	default:
		return nil, fmt.Errorf("there is no mode %q", s.Mode)
	}
	transport := &http.Transport{
		DisableKeepAlives:   !alive,
		MaxIdleConnsPerHost: 100,
		MaxConnsPerHost:     s.Connections,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if s.Server != "" {
				address = s.Server
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", s.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	client := &http.Client{
		Transport: transport,
		// An answer is judged as it comes: a redirect is no good answer.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	payload := bytes.Repeat([]byte("x"), s.Body)
	return func(ctx context.Context) (string, error) {
		var body io.Reader
		if method == http.MethodPost {
			body = bytes.NewReader(payload)
		}
		r, err := http.NewRequestWithContext(ctx, method, s.URL, body)
		if err != nil {
			return "", err
		}
		if s.Host != "" {
			r.Host = s.Host
		}
		answer, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<16))
		if err != nil {
			return "", err
		}
		if answer.StatusCode != http.StatusOK {
			return "", status(answer.StatusCode)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		return line, nil
	}, nil
}
