package projections

// What becomes of a node concerns the apps that have something there, and in a large cluster few have. For each app is kept where instances of it have
// been lately, which is wherever they are and some nodes more: nothing has to be noted when they leave.

// forgetBeen is for how many nodes more than its instances need an app's set is kept.
const forgetBeen = 16

// beenOn notes that an instance of an app is on a node.
func (c *Cluster) beenOn(a *App, node string) {
	been := c.been[a.Name]
	if been == nil {
		been = map[string]bool{}
		c.been[a.Name] = been
	}
	if been[node] = true; len(been) <= 2*len(a.Instances)+forgetBeen {
		return
	}
	clear(been)
	been[node] = true
	for _, in := range a.Instances {
		been[in.Node] = true
	}
}

// maybeOn returns the app's instances, none of them where none is on the node.
func (c *Cluster) maybeOn(a *App, node string) map[string]*Instance {
	if c.been[a.Name][node] {
		return a.Instances
	}
	return nil
}
