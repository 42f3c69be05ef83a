package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/report"
)

// fioResult is what fio(1) says of a job, as far as it is asked for.
type fioResult struct {
	Jobs []struct {
		Name  string `json:"jobname"`
		Error int    `json:"error"`
		Write struct {
			IOPS float64 `json:"iops"`
			BW   float64 `json:"bw"` // KiB/s
		} `json:"write"`
	} `json:"jobs"`
}

// fioFigures are of two jobs: small writes, each with an fsync, and one large
// file.
type fioFigures struct{ commits, throughput float64 }

func parseFio(text string) (fioFigures, error) {
	// Before the object may stand complaints.
	if at := strings.IndexByte(text, '{'); at > 0 {
		text = text[at:]
	}
	var r fioResult
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fioFigures{}, err
	}
	var f fioFigures
	for _, j := range r.Jobs {
		if j.Error != 0 {
			return f, fmt.Errorf("fio: job %s: error %d", j.Name, j.Error)
		}
		switch j.Name {
		case "commits":
			f.commits = j.Write.IOPS
		case "throughput":
			f.throughput = j.Write.BW / 1024
		}
	}
	if f.commits == 0 || f.throughput == 0 {
		return f, fmt.Errorf("fio gave no figures: %s", tail(text))
	}
	return f, nil
}

// fio runs both jobs, one after the other, in a folder of a host.
func (s *store) fio(t testing.TB, host, dir string) fioFigures {
	t.Helper()
	const common = "--output-format=json --ioengine=psync --fallocate=none --directory=. "
	out := s.On(t, host, fmt.Sprintf(`mkdir -p %[1]s; cd %[1]s
timeout 50 fio %[2]s --name=commits --rw=randwrite --bs=4k --size=16m --fdatasync=1 --time_based --runtime=8 --name=throughput --stonewall --rw=write --bs=1m --size=96m --end_fsync=1
cd /; rm -rf %[1]s`, dir, common))
	f, err := parseFio(out)
	if err != nil {
		t.Fatalf("%s on %s: %v", dir, host, err)
	}
	return f
}

// measureFio compares a client with the host that serves, and the volume with
// and without its replica.
func measureFio(t *testing.T, s *store) {
	primary := s.serving(t)
	client := s.clients[0]
	for _, h := range []string{primary, client} {
		if _, err := s.try(h, "command -v fio >/dev/null || { apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends fio >/dev/null; }"); err != nil {
			t.Fatalf("fio on %s: %v", h, err)
		}
	}
	local, remote := "/srv/"+s.name+"/"+s.project+"/fio-local", "/mnt/"+s.project+"/fio"
	nfs := s.fio(t, client, remote)
	volume := s.fio(t, primary, local)
	peer := s.other(primary)
	s.On(t, peer, "drbdadm disconnect "+s.name)
	nfsAlone := s.fio(t, client, remote)
	alone := s.fio(t, primary, local)
	s.On(t, peer, "drbdadm connect "+s.name)
	Until(t, 3*time.Minute, "the replicas to be equal", s.Whole)
	for _, f := range []struct {
		what string
		fioFigures
	}{
		{"over NFS", nfs}, {"on the volume", volume}, {"over NFS, without the replica", nfsAlone}, {"on the volume, without the replica", alone},
	} {
		m := report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "4 KiB writes with fdatasync, " + f.what, Unit: "1/s", Value: f.commits, AtLeast: true, Note: "fio, one writer, 8 s"}
		s.Record(t, m)
		m.Metric, m.Unit, m.Value, m.Note = "one file, "+f.what, "MiB/s", f.throughput, "fio, 96 MiB in blocks of 1 MiB, with a last fsync"
		s.Record(t, m)
	}
	for _, r := range []struct {
		what         string
		over, volume fioFigures
	}{{"with the replica", nfs, volume}, {"without the replica", nfsAlone, alone}} {
		m := report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "NFS against the volume, " + r.what + ", 4 KiB writes", Unit: "times", Value: r.over.commits / r.volume.commits, AtLeast: true}
		s.Record(t, m)
		m.Metric, m.Value = "NFS against the volume, "+r.what+", one file", r.over.throughput/r.volume.throughput
		s.Record(t, m)
	}
}

func TestParseFio(t *testing.T) {
	f, err := parseFio(`fio: a complaint
{"fio version":"fio-3.39","jobs":[
 {"jobname":"commits","error":0,"write":{"iops":123.4,"bw":493}},
 {"jobname":"throughput","error":0,"write":{"iops":52,"bw":53248}}]}`)
	require.NoError(t, err)
	require.Equal(t, fioFigures{123.4, 52}, f)
	for _, text := range []string{``, `{"jobs":[]}`, `{"jobs":[{"jobname":"commits","error":28}]}`} {
		_, err := parseFio(text)
		require.Error(t, err, text)
	}
}
