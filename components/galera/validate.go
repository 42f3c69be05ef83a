package galera

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/halinux/halinux/components/problem"
)

var (
	databaseName = regexp.MustCompile(`^[A-Za-z0-9_$-]{1,64}$`)
	userName     = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,80}$`)
	hostPattern  = regexp.MustCompile(`^[A-Za-z0-9_.%:/-]{1,255}$`)
	word         = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)
	schedule     = regexp.MustCompile(`^([0-9A-Za-z*,/-]+ ){4}[0-9A-Za-z*,/-]+$`)
	// The names are the server's own.
	reservedDatabases = []string{"information_schema", "mysql", "performance_schema", "sys"}
	reservedUsers     = []string{"mariadb.sys", "mysql", "root", backupUser}
)

// privileges of databases and tables (mariadb.com/kb/en/grant), and the few of the
// whole server that a program may need.
var privileges = []string{
	"ALL", "ALL PRIVILEGES", "ALTER", "ALTER ROUTINE", "CREATE", "CREATE ROUTINE", "CREATE TEMPORARY TABLES", "CREATE VIEW",
	"DELETE", "DELETE HISTORY", "DROP", "EVENT", "EXECUTE", "INDEX", "INSERT", "LOCK TABLES", "REFERENCES", "SELECT",
	"SHOW CREATE ROUTINE", "SHOW VIEW", "TRIGGER", "UPDATE",
}

var globalPrivileges = []string{"BINLOG MONITOR", "PROCESS", "RELOAD", "REPLICA MONITOR", "SHOW DATABASES"}

// Validate finds all that is wrong with the arguments of the cluster of a name.
func (a *GaleraDBArgs) Validate(name string) problem.List {
	var l problem.List
	// db-backup-28412345 is the longest name that is made of it.
	if errs := validation.IsDNS1035Label(name); len(errs) > 0 || len(name) > 40 {
		l.Add("name", fmt.Sprintf("%q is not the name of a service", name), "use at most 40 small letters, digits and hyphens, a letter first")
	}
	if errs := validation.IsDNS1123Label(a.namespace()); len(errs) > 0 {
		l.Add("namespace", fmt.Sprintf("%q is not a DNS label", a.Namespace), "name the namespace of the database")
	}
	switch n := a.replicas(); {
	case n%2 == 0 && n > 0:
		l.Add("replicas", fmt.Sprintf("%d nodes", n), fmt.Sprintf("use %d: an even number survives no more losses than one less, and splits into halves", max(3, n+1)))
	case n != 3 && n != 5:
		l.Add("replicas", fmt.Sprintf("%d nodes", n), "use 3 or 5: fewer survive no loss, and each write goes to all of them")
	}
	for _, i := range []struct{ path, ref string }{{"image", a.image()}, {"helper", a.helper()}} {
		if strings.ContainsAny(i.ref, " \t\n\"'") || strings.HasSuffix(i.ref, ":") || strings.HasSuffix(i.ref, "/") {
			l.Add(i.path, fmt.Sprintf("%q is not an image", i.ref), "write it like registry.example.org/mariadb:11.8, or with its digest")
		}
	}
	validateClaim(&l, "", a.StorageClass, a.Size, a.size())
	if q, err := resource.ParseQuantity(a.cpu()); err != nil || q.Sign() <= 0 {
		l.Add("cpu", fmt.Sprintf("%q is not a quantity", a.CPU), "write it like 500m")
	}
	if a.memory() < 512 {
		l.Add("memory", fmt.Sprintf("%d MiB", a.Memory), "use 512 or more")
	}
	if a.writeSetCache() < 64 {
		l.Add("writeSetCache", fmt.Sprintf("%d MiB", a.WriteSetCache), "use 64 or more")
	}
	if a.maxConnections() < 10 {
		l.Add("maxConnections", fmt.Sprintf("%d", a.MaxConnections), "use 10 or more")
	}
	if a.CertificateGeneration < 0 {
		l.Add("certificateGeneration", fmt.Sprintf("%d", a.CertificateGeneration), "use a number above 0, or leave it out")
	}
	if a.grace() < 60 {
		l.Add("grace", fmt.Sprintf("%d s", a.Grace), "use 60 or more: a server that is killed has to recover")
	}
	for i, server := range a.APIServers {
		if _, err := netip.ParseAddrPort(server); err != nil {
			l.Add(fmt.Sprintf("apiServers[%d]", i), fmt.Sprintf("%q is not an address with a port", server), "write it like 10.10.0.51:6443")
		}
	}
	validateLabels(&l, "clients", a.Clients)
	validateLabels(&l, "metrics", a.Metrics)
	a.validateSchema(&l)
	if b := a.Backup; b != nil {
		if !schedule.MatchString(b.Schedule) {
			l.Add("backup.schedule", fmt.Sprintf("%q is not a schedule", b.Schedule), "write it like 30 2 * * *")
		}
		if !schedule.MatchString(b.logSchedule()) {
			l.Add("backup.logSchedule", fmt.Sprintf("%q is not a schedule", b.LogSchedule), "write it like */5 * * * *")
		}
		if b.WithoutLogs && b.LogSchedule != "" {
			l.Add("backup.logSchedule", "there are no logs to be copied", "leave it or withoutLogs out")
		}
		validateClaim(&l, "backup.", b.StorageClass, b.Size, b.size())
		if b.keep() < 1 {
			l.Add("backup.keep", fmt.Sprintf("%d", b.Keep), "use 1 or more")
		}
	}
	return l
}

// validateLabels finds what is wrong with labels of pods.
func validateLabels(l *problem.List, at string, all []map[string]string) {
	for i, labels := range all {
		at := fmt.Sprintf("%s[%d]", at, i)
		if len(labels) == 0 {
			l.Add(at, "has no labels, and would be every pod", "name one or more")
		}
		for k, v := range labels {
			if len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0 {
				l.Add(at, fmt.Sprintf("%s=%s is not a label", k, v), "use a pod's label")
			}
		}
	}
}

// validateClaim finds what is wrong with a volume that is asked for.
func validateClaim(l *problem.List, at, class, given, size string) {
	if q, err := resource.ParseQuantity(size); err != nil || q.Value() < 1<<30 {
		l.Add(at+"size", fmt.Sprintf("%q is not a size for it", given), "use 1Gi or more")
	}
	if class != "" && len(validation.IsDNS1123Subdomain(class)) > 0 {
		l.Add(at+"storageClass", fmt.Sprintf("%q is not the name of a class", class), "use one that `kubectl get storageclass` shows")
	}
}

func (a *GaleraDBArgs) validateSchema(l *problem.List) {
	known := map[string]bool{"*": true}
	for i, d := range a.Databases {
		at := fmt.Sprintf("databases[%d]", i)
		switch {
		case !databaseName.MatchString(d.Name):
			l.Add(at+".name", fmt.Sprintf("%q is not the name of a database", d.Name), "use at most 64 letters, digits, underscores, dollars and hyphens")
		case slices.Contains(reservedDatabases, strings.ToLower(d.Name)):
			l.Add(at+".name", d.Name+" is the server's own", "choose another name")
		case known[d.Name]:
			l.Add(at+".name", d.Name+" stands there twice", "name it once")
		}
		known[d.Name] = true
		for path, value := range map[string]string{".characterSet": d.CharacterSet, ".collation": d.Collation} {
			if value != "" && !word.MatchString(value) {
				l.Add(at+path, fmt.Sprintf("%q is none", value), "use one of MariaDB's, or leave it out")
			}
		}
	}
	seen := map[string]bool{}
	for i, u := range a.Users {
		at := fmt.Sprintf("users[%d]", i)
		switch {
		case !userName.MatchString(u.Name):
			l.Add(at+".name", fmt.Sprintf("%q is not a name for a user", u.Name), "use at most 80 letters, digits, underscores, dots and hyphens")
		case slices.Contains(reservedUsers, u.Name):
			l.Add(at+".name", u.Name+" is the cluster's own", "choose another name")
		case seen[u.Name+"@"+u.host()]:
			l.Add(at+".name", u.Name+"@"+u.host()+" stands there twice", "name it once")
		}
		seen[u.Name+"@"+u.host()] = true
		if !hostPattern.MatchString(u.host()) {
			l.Add(at+".host", fmt.Sprintf("%q is not a host", u.Host), "use %, an address, or a part of one like 10.244.%")
		}
		if u.MaxConnections < 0 {
			l.Add(at+".maxConnections", fmt.Sprintf("%d", u.MaxConnections), "use a number above 0, or leave it out")
		}
		for j, g := range u.Grants {
			gat := fmt.Sprintf("%s.grants[%d]", at, j)
			if !known[g.Database] {
				l.Add(gat+".database", fmt.Sprintf("%q is none of the databases", g.Database), "use one of them, or *")
			}
			if len(g.Privileges) == 0 {
				l.Add(gat+".privileges", "there is none", "name one or more")
			}
			for _, p := range g.Privileges {
				if !slices.Contains(privileges, p) && (g.Database != "*" || !slices.Contains(globalPrivileges, p)) {
					l.Add(gat+".privileges", fmt.Sprintf("%q is none for the tables of a database", p), "use MariaDB's names in capitals, like SELECT or ALL PRIVILEGES")
				}
			}
		}
	}
}

// checkPassword finds what a MariaDB, or a client's settings, would choke on.
func checkPassword(user, password string) error {
	if n := len([]rune(password)); n < 8 || n > 256 {
		return fmt.Errorf("the password of %s has %d characters; use 8 to 256", user, n)
	}
	for _, r := range password {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return fmt.Errorf("the password of %s has a character that cannot be printed; use others", user)
		}
	}
	return nil
}
