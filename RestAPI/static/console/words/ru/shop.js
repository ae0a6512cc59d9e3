// The shop.
export default {};
