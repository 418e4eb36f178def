#include <hornet/backbone/error.h>
#include <hornet/pipelines/image_list.h>

#include "tests/pipelines/temporary_folder.h"

namespace hornet {
namespace {

class ImageList : public TemporaryFolder {
 protected:
  std::vector<ListedImage> read(const std::string& text) {
    write_file(path("list.txt"), text);
    return read_image_list(path("list.txt"));
  }

  void expect_refused(const std::string& text, const std::string& part) {
    try {
      read(text);
      FAIL() << "no error for " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInput);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
};

TEST_F(ImageList, HasPathsBesideIt) {
  const auto images =
      read("# CamVid\n\nval/a.jpg valannot/a.png\r\n  b.jpg \t 17  \nc d.jpg\te f.png\n");
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0].image, path("val/a.jpg"));
  EXPECT_EQ(label_path(path("list.txt"), images[0]), path("valannot/a.png"));
  EXPECT_EQ(images[0].line_number, 3u);
  EXPECT_EQ(images[1].image, path("b.jpg"));
  EXPECT_EQ(images[1].label, "17");
  EXPECT_EQ(images[2].image, path("c d.jpg"));
  EXPECT_EQ(images[2].label, "e f.png");
  EXPECT_EQ(read("/data/a.jpg /data/a.png")[0].image, "/data/a.jpg");
}

TEST_F(ImageList, RefusesWhatIsNone) {
  expect_refused("a.jpg b.png\nc.jpg\n", "line 2");
  expect_refused("a b.jpg c.png\n", "line 1");
  expect_refused("a\tb\tc\n", "line 1");
  expect_refused("# nothing\n", "no images");
  EXPECT_THROW(read_image_list(path("none.txt")), Error);
  EXPECT_THROW(read_image_list(path("")), Error);
}

}  // namespace
}  // namespace hornet
