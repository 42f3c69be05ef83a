package host

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/pulumi/pulumi-command/sdk/go/command/remote"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

//go:embed lib.sh
var library string

// Phase is one concern on one host: files, and three POSIX scripts that may
// use the functions of lib.sh.
type Phase struct {
	// Name is unique on the host, over all components: the phase's folder, log
	// and resource carry it. A DNS label.
	Name string
	// Files are staged below $stage, where the scripts can have them checked;
	// Converge puts them in their places with the function "place".
	Files []File
	// Vars become quoted shell variables of all three scripts.
	Vars map[string]string
	// Secrets travel on stdin alone. In a file's content, "[secret NAME]"
	// stands for one, and that is what a preview shows.
	Secrets map[string]pulumi.StringInput
	// Converge makes it so; a second run changes and restarts nothing.
	// Check calls "differs" for each difference it sees beyond the files,
	// packages and units, which are compared without its help; it only reads.
	// Remove undoes what Converge did beyond those.
	Converge, Check, Remove string
	// Once says that Converge must not run again after it has succeeded, as
	// with `kubeadm init`; a marker on the host guards it.
	Once bool
	// Timeout is how long Converge may run; default 10 minutes.
	Timeout time.Duration
	// Beside says that the phase needs nothing of the one before it. Both are
	// sent at once then; the host runs one after the other, in either order. It
	// saves the wait for a connection, which is most of a small phase's time
	// where the controller is far away. Default: the phase waits.
	Beside bool
}

// File is a file of a phase as it will stand on the host.
type File struct {
	Path    string      // absolute and clean
	Content string      // text; ends with a newline or gets one
	Mode    fs.FileMode // default 0644; with a secret, 0600
	Owner   string      // default root:root
}

// NewPhase is a phase of these files and of the scripts below phases/<name> in a
// component's embedded ones. Without a converge.sh there, it is an error.
func NewPhase(embedded fs.FS, name string, files ...File) (Phase, error) {
	p := Phase{Name: name, Files: files}
	return p, p.Scripts(embedded, "phases/"+name)
}

// Embedded is a file that is the same on every host, from a component's embedded
// ones. It panics where there is none of this name: the compiler embeds what
// stands in the source tree, and a test of the component finds it out.
func Embedded(embedded fs.FS, path, name string) File {
	b, err := fs.ReadFile(embedded, name)
	if err != nil {
		panic(err)
	}
	return File{Path: path, Content: string(b)}
}

// Executable is the file as one that all may run.
func (f File) Executable() File {
	f.Mode = 0o755
	return f
}

// Scripts reads converge.sh, check.sh and remove.sh of one phase from the
// component's embedded files into p; the last two may be absent.
func (p *Phase) Scripts(files fs.FS, dir string) error {
	for name, text := range map[string]*string{"converge.sh": &p.Converge, "check.sh": &p.Check, "remove.sh": &p.Remove} {
		b, err := fs.ReadFile(files, path.Join(dir, name))
		if err != nil {
			if name == "converge.sh" {
				return fmt.Errorf("phase %s: %w", p.Name, err)
			}
			continue
		}
		*text = string(b)
	}
	return nil
}

// Render fills in one of a component's embedded templates (text/template).
// A key that the values lack is an error. Values come computed: a template
// decides nothing.
func Render(files fs.FS, name string, values any) (string, error) {
	t, err := template.New(path.Base(name)).Option("missingkey=error").ParseFS(files, name)
	if err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return b.String(), nil
}

// maxCommand keeps a payload, which travels as one argument of the remote
// shell, below the kernel's limit for one argument (MAX_ARG_STRLEN, 128 KiB).
const maxCommand = 120 << 10

var (
	variable   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	secretName = regexp.MustCompile(`^[a-z0-9.-]+$`)
	secretMark = regexp.MustCompile(`\[secret ([a-z0-9.-]+)\]`)
	fileOwner  = regexp.MustCompile(`^[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*$`)
	// reserved are the library's own variables in a script.
	reserved = []string{"phase", "host", "here", "work", "stage", "connection", "state", "logs", "lib", "tab", "owner"}
)

func (p Phase) timeout() time.Duration {
	if p.Timeout == 0 {
		return 10 * time.Minute
	}
	return p.Timeout
}

func (f File) hasSecret() bool { return secretMark.MatchString(f.Content) }

func (f File) mode() fs.FileMode {
	switch {
	case f.Mode != 0:
		return f.Mode
	case f.hasSecret():
		return 0o600
	}
	return 0o644
}

func (f File) owner() string {
	if f.Owner == "" {
		return "root:root"
	}
	return f.Owner
}

// validate finds the mistakes of a component's author.
func (p Phase) validate() error {
	if !DNSLabel.MatchString(p.Name) {
		return fmt.Errorf("phase %q: the name is not a DNS label", p.Name)
	}
	for name := range p.Vars {
		if !variable.MatchString(name) || slices.Contains(reserved, name) {
			return fmt.Errorf("phase %s: %q cannot be a variable's name", p.Name, name)
		}
	}
	for name := range p.Secrets {
		if !secretName.MatchString(name) {
			return fmt.Errorf("phase %s: %q cannot be a secret's name", p.Name, name)
		}
	}
	seen := map[string]bool{}
	for _, f := range p.Files {
		switch {
		case !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || strings.ContainsAny(f.Path, "\t\n'\"\\"):
			return fmt.Errorf("phase %s: %q is not a clean absolute path", p.Name, f.Path)
		case seen[f.Path]:
			return fmt.Errorf("phase %s: %s stands there twice", p.Name, f.Path)
		case strings.ContainsRune(f.Content, 0):
			return fmt.Errorf("phase %s: %s holds a NUL byte", p.Name, f.Path)
		case !fileOwner.MatchString(f.owner()):
			return fmt.Errorf("phase %s: %s: %q is not user:group", p.Name, f.Path, f.Owner)
		case f.hasSecret() && f.mode()&0o007 != 0:
			return fmt.Errorf("phase %s: %s holds a secret and would be readable by all (%04o)", p.Name, f.Path, f.mode())
		}
		seen[f.Path] = true
		for _, m := range secretMark.FindAllStringSubmatch(f.Content, -1) {
			if _, ok := p.Secrets[m[1]]; !ok {
				return fmt.Errorf("phase %s: %s names the secret %q, which the phase does not have", p.Name, f.Path, m[1])
			}
		}
	}
	return nil
}

// asRoot runs what follows as root, whoever the user is.
const asRoot = `$([ "$(id -u)" = 0 ] || echo sudo -n)`

const libraryPath = "/var/lib/halinux/lib.sh"

// command is the text that the plugin stores, shows and runs: the phase as a
// reader sees it in a preview. Equal phases give equal text.
func (p Phase) command(host, owner string) (string, error) {
	if err := p.validate(); err != nil {
		return "", err
	}
	once := "no"
	if p.Once {
		once = "yes"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s on %s\n{ cat <<'END OF PHASE'\n", p.Name, host)
	fmt.Fprintf(&b, "phase %s %s %s %d %s\n", p.Name, host, quote(owner), int(p.timeout().Seconds()), once)
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		fmt.Fprintf(&b, "var %s %s\n", name, quote(p.Vars[name]))
	}
	for _, f := range slices.SortedFunc(slices.Values(p.Files), func(a, b File) int { return strings.Compare(a.Path, b.Path) }) {
		b.WriteString(heredoc(fmt.Sprintf("file %s %#o %s", f.Path, f.mode(), f.owner()), f.Content))
	}
	for _, s := range []struct{ name, text string }{{"converge", p.Converge}, {"check", p.Check}, {"remove", p.Remove}} {
		if s.text != "" {
			b.WriteString(heredoc("script "+s.name, s.text))
		}
	}
	b.WriteString("END OF PHASE\ncat; } | " + asRoot + " sh " + libraryPath + ` converge "$SSH_CONNECTION"` + "\n")
	text := b.String()
	if strings.Count(text, "\nEND OF PHASE\n") != 1 {
		return "", fmt.Errorf("phase %s: a file or script holds the line %q", p.Name, "END OF PHASE")
	}
	if len(text) > maxCommand {
		return "", fmt.Errorf("phase %s on %s: %d bytes of files and scripts, at most %d can be sent; divide the phase", p.Name, host, len(text), maxCommand)
	}
	return text, nil
}

// stdin is what follows the text on the connection: the secrets, and the word
// by which the host knows that all of it has arrived.
func (p Phase) stdin() pulumi.StringInput {
	if len(p.Secrets) == 0 {
		return pulumi.String("end\n")
	}
	names := slices.Sorted(maps.Keys(p.Secrets))
	values := make([]any, len(names))
	for i, name := range names {
		values[i] = p.Secrets[name]
	}
	out := pulumi.All(values...).ApplyT(func(values []any) string {
		var b strings.Builder
		for i, name := range names {
			fmt.Fprintf(&b, "secret %s %s\n", name, base64.StdEncoding.EncodeToString([]byte(values[i].(string))))
		}
		b.WriteString("end\n")
		return b.String()
	})
	return pulumi.ToSecret(out).(pulumi.StringOutput)
}

// removal is the text that undoes a phase. It never changes for a phase, since
// the host keeps the scripts that fit what is there.
func removal(phase, owner string) string {
	return fmt.Sprintf("[ ! -d /var/lib/halinux ] || %s sh %s remove %s %s\n", asRoot, libraryPath, phase, quote(owner))
}

// Apply registers phases on the host, one after the other, as children of
// parent, and returns the host as it is after them: what is given to that
// waits for them. Resources are named "<name>-<host>-<phase>". Its error says
// which phase is no valid one (a mistake of the component), or that the private
// key cannot be read.
func (h Host) Apply(ctx *pulumi.Context, name string, parent pulumi.Resource, phases []Phase, opts ...pulumi.ResourceOption) (Host, error) {
	connection, err := h.SSH.connection()
	if err != nil {
		return h, err
	}
	prefix := name + "-" + h.Name + "-"
	urn := urnOf(ctx, parent)
	if !h.ready {
		c, err := remote.NewCommand(ctx, prefix+"library", h.options(&remote.CommandArgs{
			Connection: connection,
			Create:     pulumi.String(libraryInstall),
			Delete:     pulumi.String("[ ! -d /var/lib/halinux ] || " + asRoot + " sh " + libraryPath + " forget\n"),
			Stdin:      pulumi.ToSecret(pulumi.String(libraryPacked)).(pulumi.StringOutput),
		}), h.with(parent, h.after, opts)...)
		if err != nil {
			return h, err
		}
		h.after, h.ready = []pulumi.Resource{c}, true
	}
	before := h.after // what the next phase waits for
	for _, p := range phases {
		if !p.Beside {
			before = h.after
		}
		if _, err := p.command(h.Name, ""); err != nil {
			return h, err
		}
		// The owner is what tells a phase from its successor under another
		// name or parent, whose work its removal must not undo.
		owner := urn.ApplyT(func(urn any) string { return urn.(string) + "::" + prefix + p.Name }).(pulumi.StringOutput)
		text := owner.ApplyT(func(owner string) (string, error) { return p.command(h.Name, owner) }).(pulumi.StringOutput)
		note := h.Drift.note(p.Name)
		remove := owner.ApplyT(func(owner string) string { return removal(p.Name, owner) + note }).(pulumi.StringOutput)
		extra := []pulumi.ResourceOption{}
		if note == "" {
			// The input "delete" never changes for a phase, so it can carry
			// a reason to converge again and leave nothing behind: see
			// docs/decisions/drift.md.
			extra = append(extra, pulumi.IgnoreChanges([]string{"delete"}))
		}
		c, err := remote.NewCommand(ctx, prefix+p.Name, h.options(&remote.CommandArgs{
			Connection: connection,
			Create:     text,
			Delete:     remove,
			Stdin:      p.stdin(),
		}), append(h.with(parent, before, opts), extra...)...)
		if err != nil {
			return h, err
		}
		if note != "" {
			_ = ctx.Log.Warn(strings.TrimSpace(fmt.Sprintf("%s: %s drifted\n%s", h.Name, p.Name, note)), &pulumi.LogArgs{Resource: c})
		}
		if p.Beside {
			h.after = append(slices.Clone(h.after), c)
		} else {
			h.after = []pulumi.Resource{c}
		}
	}
	return h, nil
}

// urnOf is the URN of a component without the dependency on it: a child whose
// inputs depend on its own parent would wait for itself.
func urnOf(ctx *pulumi.Context, parent pulumi.Resource) pulumi.AnyOutput {
	urn, resolve, _ := ctx.NewOutput()
	parent.URN().ApplyT(func(u pulumi.URN) string {
		resolve(string(u))
		return ""
	})

	return urn.(pulumi.AnyOutput)
}

// options sets what all commands have in common.
func (h Host) options(args *remote.CommandArgs) *remote.CommandArgs {
	args.AddPreviousOutputInEnv = pulumi.Bool(false)
	args.Logging = remote.LoggingStderr
	return args
}

func (h Host) with(parent pulumi.Resource, after []pulumi.Resource, opts []pulumi.ResourceOption) []pulumi.ResourceOption {
	return append([]pulumi.ResourceOption{
		pulumi.Parent(parent),
		pulumi.DependsOn(after),
		pulumi.DeleteBeforeReplace(true),
	}, opts...)
}

// Resources are what a resource outside this package must wait for to find
// the host as its last phase left it.
func (h Host) Resources() []pulumi.Resource { return slices.Clone(h.after) }

var libraryInstall = fmt.Sprintf(`# the shell library of the phases, version %x
set -eu
as=%s
$as mkdir -p -m 700 /var/lib/halinux
$as sh -c 'umask 077; base64 -d | gunzip >%[3]s.new && grep -q "^# end of the library" %[3]s.new && mv -f %[3]s.new %[3]s'
`, sha256.Sum256([]byte(library)), asRoot, libraryPath)

// libraryPacked is the same for all hosts, and takes a moment to make.
var libraryPacked = packed(library)

// packed makes the library small, since the state holds it for every host.
func packed(text string) string {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write([]byte(text)) // a buffer takes everything
	_ = z.Close()
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// quote makes one word of a POSIX shell out of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// heredoc gives a text to a shell function, under a word that does not occur
// as a line of it.
func heredoc(call, text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	word := "EOF"
	for strings.Contains("\n"+text, "\n"+word+"\n") {
		word += "_"
	}
	return call + " <<'" + word + "'\n" + text + word + "\n"
}
