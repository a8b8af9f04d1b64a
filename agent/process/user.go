//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path"
	"strconv"

	"github.com/go-cluster/go-cluster/agent/watchdog"
	"github.com/go-cluster/go-cluster/spec"
)

// identity is whom an app runs as.
type identity struct {
	credential *watchdog.Credential // nil for the agent's own identity
	env        map[string]string    // what the environment says of the user; empty for the agent's own
}

// identify resolves user and group on this node. euid is the agent's.
func identify(e spec.Execution, euid int, allowRoot bool) (identity, error) {
	if e.User == "" {
		switch {
		case euid == 0 && !allowRoot:
			return identity{}, errors.New("the agent is root and the app names no user: set user (root only if it must be)")
		case e.Group == "":
			return identity{}, nil
		}
	}
	u, err := findUser(e.User, euid)
	if err != nil {
		return identity{}, err
	}
	if u.uid == 0 && e.User != "root" && e.User != "" {
		return identity{}, fmt.Errorf("user %s is root under another name: say user: root if it must be root", e.User)
	}
	if e.Group != "" {
		if u.gid, err = findGroup(e.Group); err != nil {
			return identity{}, err
		}
		u.noGroup = false
	}
	if u.noGroup {
		return identity{}, fmt.Errorf("user %s is not in the user database: set group as well", e.User)
	}
	if euid != 0 {
		if int(u.uid) != euid || (e.Group != "" && int(u.gid) != os.Getegid()) {
			return identity{}, fmt.Errorf("run as user %q group %q: the agent runs as uid %d, only root can change to another",
				e.User, e.Group, euid)
		}
		return identity{}, nil
	}
	id := identity{credential: &watchdog.Credential{UID: u.uid, GID: u.gid, Groups: u.groups}}
	if u.uid != 0 {
		id.env = map[string]string{"USER": u.name, "LOGNAME": u.name, "HOME": u.home}
	}
	return id, nil
}

type account struct {
	uid, gid   uint32
	noGroup    bool // gid is not known
	groups     []uint32
	name, home string
}

// findUser accepts a name, a uid of the user database and any other uid; "" is the agent's.
func findUser(s string, euid int) (account, error) {
	var u *user.User
	var err error
	if s == "" {
		s = strconv.Itoa(euid)
	}
	if n, notNumber := strconv.ParseUint(s, 10, 32); notNumber == nil {
		u, err = user.LookupId(s)
		if errors.As(err, new(user.UnknownUserIdError)) {
			return account{uid: uint32(n), noGroup: true, name: s, home: "/"}, nil
		}
	} else {
		u, err = user.Lookup(s)
	}
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", s, err)
	}
	a := account{name: u.Username, home: path.Clean("/" + u.HomeDir)}
	if a.uid, err = parseID(u.Uid); err != nil {
		return account{}, fmt.Errorf("user %s: uid: %w", s, err)
	}
	if a.gid, err = parseID(u.Gid); err != nil {
		return account{}, fmt.Errorf("user %s: gid: %w", s, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account{}, fmt.Errorf("groups of user %s: %w", s, err)
	}
	for _, id := range ids {
		gid, err := parseID(id)
		if err != nil {
			return account{}, fmt.Errorf("groups of user %s: %w", s, err)
		}
		a.groups = append(a.groups, gid)
	}
	return a, nil
}

func findGroup(s string) (uint32, error) {
	if gid, err := parseID(s); err == nil {
		return gid, nil
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", s, err)
	}
	return parseID(g.Gid)
}

func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
