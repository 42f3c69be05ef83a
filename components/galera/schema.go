package galera

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/halinux/halinux/components/galera/pod"
)

// backupUser is the account that backups are made by.
const backupUser = "galera-backup"

// schema is schema.json, with the users' passwords in their order.
func (a *GaleraDBArgs) schema(passwords []string, backup string) (string, error) {
	var s pod.Schema
	for _, d := range a.Databases {
		s.Databases = append(s.Databases, pod.Database{Name: d.Name, CharacterSet: d.CharacterSet, Collation: d.Collation})
	}
	for i, u := range a.Users {
		if err := checkPassword(u.Name, passwords[i]); err != nil {
			return "", fmt.Errorf("users[%d].password: %w", i, err)
		}
		user := pod.User{Name: u.Name, Host: u.host(), Password: passwords[i], MaxConnections: u.MaxConnections}
		for _, g := range u.Grants {
			user.Grants = append(user.Grants, pod.Grant{Database: g.Database, Privileges: slices.Clone(g.Privileges)})
		}
		s.Users = append(s.Users, user)
	}
	if a.Backup != nil {
		s.Users = append(s.Users, pod.User{Name: backupUser, Host: "%", Password: backup, Grants: []pod.Grant{
			{Database: "*", Privileges: []string{"RELOAD", "PROCESS", "LOCK TABLES", "BINLOG MONITOR", "REPLICA MONITOR"}},
			{Database: "mysql", Privileges: []string{"SELECT"}},
		}})
	}
	text, err := json.MarshalIndent(s, "", "  ")
	return string(text), err
}

// backupConfig is backup.cnf, which mariadb and mariadb-backup read.
func backupConfig(password string) string {
	return fmt.Sprintf("[client]\nuser=%s\npassword=%s\nssl\nssl_ca=/etc/galera-backup/ca.crt\n", backupUser, password)
}
