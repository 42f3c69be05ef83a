package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/golden"
)

func example() Phase {
	return Phase{
		Name: "web",
		Files: []File{
			{Path: "/srv/b.conf", Content: "second EOF\nEOF\nno newline at the end"},
			{Path: "/srv/a.conf", Content: "it's $HOME `id` \\ \"quoted\"\n"},
			{Path: "/srv/key", Content: "key [secret tls.key]!\n", Mode: 0o640, Owner: "root:daemon"},
		},
		Vars:     map[string]string{"b": "it's", "a": "1 2\n3"},
		Secrets:  map[string]pulumi.StringInput{"tls.key": pulumi.String("s3cr3t")},
		Converge: "place\n",
		Check:    "[ -e /srv/x ] || differs \"/srv/x is missing\"\n",
	}
}

func TestCommandText(t *testing.T) {
	text, err := example().command("edge1", "urn:o::web")
	require.NoError(t, err)
	golden.Compare(t, "testdata/command.golden", text)
	for range 20 {
		again, err := example().command("edge1", "urn:o::web")
		require.NoError(t, err)
		require.Equal(t, text, again, "equal phases must give equal text")
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	assert.NoError(t, err, string(out))
}

func TestPhaseMistakes(t *testing.T) {
	for want, spoil := range map[string]func(*Phase){
		"not a DNS label":                    func(p *Phase) { p.Name = "a b" },
		"cannot be a variable's name":        func(p *Phase) { p.Vars["stage"] = "x" },
		"not a clean absolute path":          func(p *Phase) { p.Files[0].Path = "/a/../b" },
		"stands there twice":                 func(p *Phase) { p.Files[0].Path = p.Files[1].Path },
		"holds a NUL byte":                   func(p *Phase) { p.Files[0].Content = "\x00" },
		"is not user:group":                  func(p *Phase) { p.Files[0].Owner = "root" },
		"would be readable by all":           func(p *Phase) { p.Files[2].Mode = 0o644 },
		"which the phase does not have":      func(p *Phase) { p.Files[2].Content = "[secret other]" },
		`holds the line "END OF PHASE"`:      func(p *Phase) { p.Files[0].Content = "END OF PHASE\n" },
		"at most 122880 can be sent":         func(p *Phase) { p.Files[0].Content = strings.Repeat("x\n", 1<<16) },
		`"not/ok" cannot be a secret's name`: func(p *Phase) { p.Secrets["not/ok"] = pulumi.String("") },
	} {
		p := example()
		spoil(&p)
		_, err := p.command("edge1", "o")
		assert.ErrorContains(t, err, want)
	}
}

// FuzzQuoting holds that any text reaches the host's shell unchanged, as a
// variable and as a file.
func FuzzQuoting(f *testing.F) {
	for _, s := range []string{"", "a", "it's", "$(id)", "`id`", "a\nEOF\nb\n", "\\", "'\\''", "é\t", "EOF", "-n", "%s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			t.Skip("a shell cannot hold NUL")
		}
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		require.NoError(t, err)
		require.Equal(t, s, string(out))
		want := s
		if s != "" && !strings.HasSuffix(s, "\n") {
			want += "\n"
		}
		out, err = exec.Command("sh", "-c", heredoc("cat", s)).Output()
		require.NoError(t, err)
		require.Equal(t, want, string(out))
	})
}

// Only this package may import the command plugin's SDK.
func TestOnlyThisPackageKnowsThePlugin(t *testing.T) {
	root := filepath.Join("..", "..")
	found := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), `"github.com/pulumi/pulumi-command/`) {
			return nil
		}
		found++
		rel, _ := filepath.Rel(root, path)
		ok := strings.HasPrefix(rel, "components/host/") || strings.HasPrefix(rel, "tests/providers/")
		assert.True(t, ok, "%s imports pulumi-command; only components/host may (and the contract test of the plugin itself)", rel)
		return nil
	}))
	assert.NotZero(t, found)
}
