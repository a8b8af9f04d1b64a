//go:build bug_chain_cut

package planted

const name = "chain_cut"
